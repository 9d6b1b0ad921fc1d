"""All devices of a community side by side: by seat and device slot outside, by kind inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from gridbazaar.envs.devices.protocol import Band, Device
from gridbazaar.envs.observation import Feature
from gridbazaar.envs.prices import SlotPrices

States = Mapping[str, Any]
ByKind = Mapping[str, Tensor]

_SMALL = 1e-6


class DeviceUse(NamedTuple):
    """What a slot came to for the devices.

    Attributes:
        energy_kwh: [B, N] that a seat's devices held at its end, before departures.
        unserved_kwh: [B, N] that was missing at departures.
        wear_eur: [B, N].
        stored_eur: [B, N] change in the worth of what they hold.
        device_kw: power of each kind's units, [B, D].
        content_kwh: energy that each kind's units held at the end, before departures, [B, D].
    """

    energy_kwh: Tensor
    unserved_kwh: Tensor
    wear_eur: Tensor
    stored_eur: Tensor
    device_kw: dict[str, Tensor]
    content_kwh: dict[str, Tensor]


@dataclass(frozen=True)
class Fleet:
    """The units of all kinds, U together, in N seats with K device slots each.

    A seat's units fill its slots in the order of the kinds; K is the most that any seat owns, at
    least 1, and the slots that are left stay empty.

    Attributes:
        kinds: the devices by kind.
        place: [U] seat * K + slot of each unit, kind after kind.
        unit: [N * K] number of the unit in each slot; U where there is none.
        rated_kw: [N, K] the most that a unit takes or gives.
        import_kw, export_kw: [N] the most that a seat's units take, and give, together.
    """

    kinds: dict[str, Device]
    place: Tensor
    unit: Tensor
    rated_kw: Tensor
    import_kw: Tensor
    export_kw: Tensor

    @classmethod
    def of(cls, kinds: dict[str, Device], seats: int) -> Self:
        """Give every unit its slot."""
        owner = np.concatenate([[], *(d.seat.numpy() for d in kinds.values())]).astype(np.int64)
        order = np.argsort(owner, kind="stable")
        first = np.searchsorted(owner[order], owner[order])
        slot = np.empty_like(owner)
        slot[order] = np.arange(len(owner)) - first
        K = int(slot.max(initial=0)) + 1
        place = owner * K + slot
        unit = np.full(seats * K, len(owner))
        unit[place] = np.arange(len(owner))
        at = torch.as_tensor(owner)

        none = next((d.import_kw[:0] for d in kinds.values()), torch.zeros(0))

        def per_unit(values: Sequence[Tensor]) -> Tensor:
            return torch.cat([none, *values])

        import_kw = per_unit([d.import_kw for d in kinds.values()])
        export_kw = per_unit([d.export_kw for d in kinds.values()])
        rated = none.new_zeros(seats * K).index_copy(
            0, torch.as_tensor(place), torch.maximum(import_kw, export_kw)
        )
        nothing = none.new_zeros(seats)
        return cls(
            kinds=kinds,
            place=torch.as_tensor(place),
            unit=torch.as_tensor(unit),
            rated_kw=rated.view(seats, K),
            import_kw=nothing.index_add(0, at, import_kw),
            export_kw=nothing.index_add(0, at, export_kw),
        )

    @property
    def slots(self) -> int:
        """K."""
        return self.rated_kw.shape[1]

    @cached_property
    def _divisor_kw(self) -> Tensor:
        """Return the rated power [N, K], next to nothing in empty slots."""
        return self.rated_kw.clamp(min=_SMALL)

    def share_of_rated(self, power_kw: Tensor) -> Tensor:
        """Return power [..., N, K or 1] as shares of each slot's rated power, [..., N, K]."""
        return power_kw / self._divisor_kw

    @cached_property
    def _place_of(self) -> dict[str, Tensor]:
        """Return the places of each kind's units."""
        counts = [len(device.seat) for device in self.kinds.values()]
        return dict(zip(self.kinds, self.place.split(counts), strict=True))

    def units(self, values: Tensor) -> dict[str, Tensor]:
        """Return what [B, N, K] holds for the units of each kind, [B, D]."""
        rows = values.flatten(1)
        return {kind: rows.index_select(1, at) for kind, at in self._place_of.items()}

    def slotted(self, values: ByKind, none: Tensor) -> Tensor:
        """Return the units' values [..., D] by kind as [..., N, K].

        Args:
            values: by kind.
            none: [..., 1] that stands in empty slots.
        """
        together = torch.cat([*values.values(), none], -1)
        # As rows of a matrix: torch selects columns of one twice as fast.
        laid = together.view(-1, together.shape[-1]).index_select(1, self.unit)
        return laid.view(*none.shape[:-1], *self.rated_kw.shape)

    def seat_sums(self, values: ByKind, none: Tensor) -> Tensor:
        """Return the sums over each seat's units, [..., N]; see `slotted`."""
        return seat_power(self.slotted(values, none))

    def rating(self, name: str) -> Tensor:
        """Return a rating of RATINGS by its feature's name, [N, K]; zero where there is none."""
        each = {k: d.ratings().get(name, d.import_kw * 0) for k, d in self.kinds.items()}
        return self.slotted(each, self.rated_kw.new_zeros(1))

    def schedule(self, features: Sequence[Feature], slots: int) -> Tensor:
        """Return features that follow from data alone, scaled, [slots, N, K * len(features)].

        All features of a seat's first device come before those of its second.
        """
        none, shown = self.rated_kw.new_zeros(len(features), slots, 1), {}
        for kind, device in self.kinds.items():
            known, zero = device.schedule(), none[0].expand(-1, len(device.seat))
            scaled = [known.get(f.name, zero) * f.scale for f in features]
            shown[kind] = torch.stack(scaled)
        return self.slotted(shown, none).permute(1, 2, 3, 0).flatten(2)

    def of_units(self, name: str) -> Tensor:
        """Return an attribute of all devices, such as `efficiency`, as [N, K]; zero elsewhere."""
        each = {kind: getattr(device, name) for kind, device in self.kinds.items()}
        return self.slotted(each, self.rated_kw.new_zeros(1))

    @cached_property
    def least_feed_in(self) -> Tensor | None:
        """Feed-in price [N] below which seats turn PV down, -inf where never; None: nobody does."""
        least, never = None, torch.full_like(self.import_kw, -torch.inf)
        for device in self.kinds.values():
            if (below := device.turns_down_below()) is not None:
                least = (never if least is None else least).index_copy(0, device.seat, below)
        return least

    def committed(
        self, must_run_kw: Tensor, flexible_kw: Tensor, cleared_kw: Tensor, feed_in: Tensor
    ) -> Tensor:
        """Return the must-run nets that seats commit to, without the surplus that is turned down.

        Args:
            must_run_kw: [B, N] PV less load, as it was offered.
            flexible_kw: [B, N] of a seat's devices together.
            cleared_kw: [B, N] sold (positive) and bought.
            feed_in: [B, 1] EUR/kWh; what it pays less than a unit asks for is not generated.
        """
        if self.least_feed_in is None:
            return must_run_kw
        unsold_kw = (must_run_kw + flexible_kw - cleared_kw).clamp(min=0)
        return torch.where(feed_in < self.least_feed_in, must_run_kw - unsold_kw, must_run_kw)

    def generated(
        self, sun_kw: Tensor, load_kw: Tensor, must_run_kw: Tensor, feed_in: Tensor
    ) -> Tensor:
        """Return PV power [B, N]: what the sun offers, or what a must-run net takes of it.

        Args:
            sun_kw, load_kw: [B, N].
            must_run_kw: [B, N] as committed.
            feed_in: [B, 1] EUR/kWh.
        """
        if self.least_feed_in is None:
            return sun_kw
        wanted_kw = (must_run_kw + load_kw).clamp(min=0)
        down = feed_in < self.least_feed_in
        return torch.where(down, torch.minimum(sun_kw, wanted_kw), sun_kw)

    def batteries_kw(self) -> Tensor:
        """Return the rated power of all batteries together."""
        each = {
            kind: torch.maximum(device.import_kw, device.export_kw) * device.battery
            for kind, device in self.kinds.items()
        }
        return self.slotted(each, self.rated_kw.new_zeros(1)).sum()

    def stored_share(self, states: States, like: Tensor) -> Tensor:
        """Return the share of the capacity of all batteries that is filled, [B]; 0 without any.

        `like` is any tensor of B rows and their type.
        """
        none = like.new_zeros(len(like))
        batteries = {kind: device for kind, device in self.kinds.items() if device.battery}
        held = sum((d.content_kwh(states[k]).sum(-1) for k, d in batteries.items()), none)
        capacity = self.rating("storage_kwh").sum().clamp(min=_SMALL)
        return held / capacity

    def begin(self, row: Tensor, chance: Tensor) -> dict[str, Any]:
        """Return the states at a day's start; `chance` is [B, N, K], see Device."""
        units = self.units(chance)
        return {kind: d.begin(row, units[kind]) for kind, d in self.kinds.items()}

    def arrive(self, states: States, row: Tensor) -> dict[str, Any]:
        """Return the states as slot `row` [B] begins."""
        return {kind: d.arrive(states[kind], row) for kind, d in self.kinds.items()}

    def band(self, states: States, like: Tensor) -> Band:
        """Return what each unit must and may do, [B, N, K]; `like` is of B rows and their type."""
        bands = {kind: torch.stack(d.band(states[kind])) for kind, d in self.kinds.items()}
        return Band(*self.slotted(bands, like.new_zeros(3, len(like), 1)).unbind())

    def use(
        self, states: States, power_kw: Tensor, end: SlotPrices, over: bool
    ) -> tuple[dict[str, Any], DeviceUse]:
        """Return the states after a slot at the power [B, N, K], and what the slot came to.

        Args:
            states: as the slot began.
            power_kw: feasible, or less of it.
            end: prices of the day's last slot, see Device.
            over: whether this was the last slot.
        """
        units, after, content, sums = self.units(power_kw), {}, {}, {}
        for kind, device in self.kinds.items():
            advanced = device.advance(states[kind], units[kind])
            content[kind] = device.content_kwh(advanced)
            after[kind], unserved_kwh = device.depart(advanced)
            stored_eur = device.stored_eur(states[kind], after[kind], end, over)
            wear_eur = device.wear_eur(units[kind])
            sums[kind] = torch.stack([content[kind], unserved_kwh, wear_eur, stored_eur])
        none = power_kw.new_zeros(4, power_kw.shape[0], 1)
        energy_kwh, unserved, wear, stored = self.seat_sums(sums, none).unbind()
        return after, DeviceUse(energy_kwh, unserved, wear, stored, units, content)

    def observe(self, states: States, features: Sequence[Feature], like: Tensor) -> Tensor:
        """Return features of the units, [len(features), B, N, K]; zero where not shown.

        `like` is any tensor of B rows and their type.
        """
        none, shown = like.new_zeros(len(features), like.shape[0], 1), {}
        for kind, device in self.kinds.items():
            seen = device.observe(states[kind])
            zero = none[0].expand(-1, device.seat.shape[0])
            shown[kind] = torch.stack([seen.get(f.name, zero) for f in features])
        return self.slotted(shown, none)


def seat_power(devices_kw: Tensor) -> Tensor:
    """Return the sum over the devices of each seat, [..., N], from [..., N, K]."""
    return devices_kw.squeeze(-1) if devices_kw.shape[-1] == 1 else devices_kw.sum(-1)


def share_cut(planned_kw: Tensor, delivered_kw: Tensor) -> Tensor:
    """Share what was taken from a seat's devices among those of that direction, pro rata.

    Args:
        planned_kw: [B, N, K].
        delivered_kw: [B, N] of all devices of a seat: as planned, or less given, or less taken.

    Returns:
        [B, N, K] that add up to what was delivered.
    """
    if planned_kw.shape[-1] == 1:
        return delivered_kw.unsqueeze(-1)
    gives, takes = planned_kw.clamp(min=0), planned_kw.clamp(max=0)
    all_gives, all_takes = gives.sum(-1), takes.sum(-1)
    planned = planned_kw.sum(-1)
    left_gives = torch.where(delivered_kw < planned, delivered_kw - all_takes, all_gives)
    left_takes = torch.where(delivered_kw > planned, delivered_kw - all_gives, all_takes)
    tiny = torch.finfo(planned_kw.dtype).tiny
    return gives * (left_gives / all_gives.clamp(min=tiny)).unsqueeze(-1) + takes * (
        left_takes / all_takes.clamp(max=-tiny)
    ).unsqueeze(-1)
