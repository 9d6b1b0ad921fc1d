"""Stores that serve visits: energy that is wanted by a known time, after which it leaves.

The capacity is what is wanted by departure plus what comes along to be given (`lent_kwh`). What is
missing to the full capacity at departure has not been served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, where

from gridbazaar.envs.data.sessions import Sessions, SessionSlots
from gridbazaar.envs.devices.protocol import Profile
from gridbazaar.envs.devices.site import Ints, Site, per_slot, per_unit
from gridbazaar.envs.devices.store import Store
from gridbazaar.envs.observation import device_features
from gridbazaar.envs.prices import SlotPrices

_SMALL, _MOST_URGENCY = 1e-6, 2.0


class Parked(NamedTuple):
    """State of the units, [B, D] each; zeros where nobody is there.

    `slots_left` counts the slots that a visit still lasts, the present one included.
    """

    energy_kwh: Tensor
    capacity_kwh: Tensor
    slots_left: Tensor


@dataclass(frozen=True)
class SessionStore(Store):
    """Units that serve one visit after the other; kinds of it say whose they are.

    Attributes:
        lent_kwh: [D] that comes along and may be given, so long as it is back at departure.
        need_kwh: [T, D] that a visit seen for the first time in this slot wants.
        session_kwh: [T, D] that the present visit wanted on arrival.
        slots_left: [T, D] slots that the present visit still lasts, this one included.
    """

    lent_kwh: Tensor
    need_kwh: Tensor
    session_kwh: Tensor
    slots_left: Tensor

    SCHEDULE = device_features("slots_to_departure")
    FEATURES = device_features("soc", "energy_kwh", "room_kwh", "urgency")

    @staticmethod
    def visits(sessions: Sessions, site: Site, owner: Ints, way: float) -> dict[str, Any]:
        """Return what the sessions say of units that store a share `way` of what they take."""
        power_kw = sessions.max_power_kw * way
        seen = seen_sessions(sessions.per_slot(len(site.series.load_kw)), power_kw, site.slot_h)
        return {
            "seat": torch.as_tensor(owner),
            "slot_h": site.slot_h,
            "floor": per_unit(0, owner),
            "ceiling": per_unit(1, owner),
            "need_kwh": per_slot(seen.need_kwh),
            "session_kwh": per_slot(seen.carried_kwh),
            "slots_left": per_slot(seen.slots_left),
        }

    def begin(self, row: Tensor, chance: Tensor) -> Parked:
        """Find yesterday's visits partly served; they lack no more than can still be taken."""
        wanted, left = self.session_kwh[row], self.slots_left[row]
        reachable = left * (self.import_kw * self.efficiency) * self.slot_h
        missing = torch.minimum(chance * wanted, reachable)
        capacity = (wanted + self.lent_kwh) * (wanted > 0)
        return Parked(capacity - missing, capacity, left)

    def arrive(self, state: Parked, row: Tensor) -> Parked:
        """Begin the visits that are seen for the first time; see Device."""
        need = self.need_kwh.index_select(0, row)
        arriving = need > 0
        return Parked(
            where(arriving, self.lent_kwh, state.energy_kwh),
            where(arriving, self.lent_kwh + need, state.capacity_kwh),
            self.slots_left.index_select(0, row),
        )

    def depart(self, state: Parked) -> tuple[Parked, Tensor]:
        """End the visits whose last slot this was; see Device."""
        departing = state.slots_left == 1
        unserved = (state.capacity_kwh - state.energy_kwh).clamp(min=0) * departing
        return Parked(*(each.masked_fill(departing, 0.0) for each in state)), unserved

    def stored_eur(self, before: Parked, after: Parked, end: SlotPrices, over: bool) -> Tensor:
        """Charge at the day's end what those who stay still want; see Device."""
        if not over:
            return torch.zeros_like(after.energy_kwh)
        return -((after.capacity_kwh - after.energy_kwh) * end.next_low)

    @cached_property
    def _storable_kwh(self) -> Tensor:
        """Energy stored in a slot at full power, [D]."""
        return self.import_kw * self.efficiency * self.slot_h

    def above_floor(self, state: Parked) -> Tensor:
        """Return the energy, whose floor is zero; see Store."""
        return state.energy_kwh

    def owed(self, state: Parked) -> Tensor:
        """Return what must be taken now so that all is there at departure; see Store."""
        return (-self._beyond(state)).clamp(min=0)

    def spare(self, state: Parked) -> Tensor:
        """Return what can be taken again before departure; see Store."""
        return torch.minimum(self._beyond(state), state.energy_kwh).clamp(min=0)

    def _beyond(self, state: Parked) -> Tensor:
        """Return the energy beyond what, taken on from the next slot, is full at departure."""
        later = (state.slots_left - 1).clamp(min=0) * self._storable_kwh
        return state.energy_kwh - (state.capacity_kwh - later)

    def room(self, state: Parked) -> Tensor:
        """Return what is still wanted; see Store."""
        return state.capacity_kwh - state.energy_kwh

    def schedule(self) -> dict[str, Tensor]:
        """Return the time to departure; see Device."""
        return {"slots_to_departure": self.slots_left}

    def observe(self, state: Parked) -> dict[str, Tensor]:
        """Return the store's features, and how pressing it is to take; see Device."""
        seen = super().observe(state)
        reachable = (state.slots_left * self._storable_kwh).clamp(min=_SMALL)
        return seen | {"urgency": (seen["room_kwh"] / reachable).clamp(max=_MOST_URGENCY)}

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return what the longest session wants, and the most urgency; see Device."""
        most_kwh = torch.maximum(self.session_kwh, self.need_kwh) + self.lent_kwh
        return {**self._bounds(most_kwh), "urgency": (0.0, _MOST_URGENCY)}

    def foreseen(self) -> Self:
        """Return the units with no other visits than those that last; see Device."""
        return replace(self, need_kwh=torch.zeros_like(self.need_kwh))

    def profile(self, state: Parked, row: Tensor, end: SlotPrices) -> Profile:
        """Return the day's linear programme; see Device."""
        idle = [state]
        for slot in row.T[1:]:
            idle.append(self.arrive(self.depart(idle[-1])[0], slot))
        left = torch.stack([s.slots_left for s in idle], -1)
        due, carried = left == 1, torch.zeros_like(left, dtype=torch.bool)
        arrived = self.need_kwh[row[:, 1:]].movedim(1, -1) > 0
        carried[..., 1:] = ~(due[..., :-1] | arrived)
        stays = ~due[..., -1]
        profile = self._profile(
            idle,
            carried,
            due,
            end.next_low.expand_as(stays),
            idle[-1].capacity_kwh * stays,
        )
        return profile._replace(floor_kwh=self._promised(profile, left))

    def _promised(self, profile: Profile, left: Tensor) -> Tensor:
        """Return the least content [B, D, T] kWh of which departure can still be kept.

        What began too late for that must be as full as can be.
        """
        storable = self._storable_kwh.unsqueeze(-1)
        promised = (profile.target_kwh - (left - 1).clamp(min=0) * storable).clamp(min=0)
        fullest, most = [], torch.zeros_like(profile.end_worth)
        for t in range(left.shape[-1]):
            most = profile.carried[..., t] * most + profile.brought_kwh[..., t] + storable[..., 0]
            most = torch.minimum(most, profile.ceiling_kwh[..., t])
            fullest.append(most)
        return torch.minimum(promised, torch.stack(fullest, -1))


def seen_sessions(
    slots: SessionSlots, power_kw: NDArray[np.float32], slot_h: float
) -> SessionSlots:
    """Return the sessions as a unit's bidder knows them: from the slot after arrival.

    Bids for a slot are sent before it begins, when nobody knows who will arrive during it. A visit
    asks for no more than `power_kw`, what the unit can put into it, gives in the slots that are
    left; one that lasts a single slot is never seen. `need_kwh` stands in the first slot seen and
    `carried_kwh` in all.
    """
    arrived = slots.need_kwh > 0
    first = np.zeros_like(arrived)
    first[1:] = arrived[:-1] & ~slots.departs[:-1]
    most = power_kw * slot_h * slots.slots_left
    need = np.zeros_like(slots.need_kwh)
    need[1:] = np.minimum(slots.need_kwh[:-1], most[1:]) * first[1:]

    row = np.where(arrived | first, np.arange(len(need))[:, None], 0)
    begun = np.maximum.accumulate(row, axis=0)
    session = np.take_along_axis(need, begun, axis=0) * slots.plugged
    there = session > 0
    return SessionSlots(
        plugged=there,
        need_kwh=need,
        departs=slots.departs & there,
        slots_left=slots.slots_left * there,
        carried_kwh=session,
    )
