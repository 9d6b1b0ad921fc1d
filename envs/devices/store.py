"""Stored energy: what power a store can give or take, and what is left after it did."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.devices.protocol import Band, Device, Profile
from gridbazaar.envs.observation import device_features

_SMALL = 1e-6


class Content(NamedTuple):
    """State of a store, [B, D] kWh each."""

    energy_kwh: Tensor
    capacity_kwh: Tensor


@dataclass(frozen=True)
class Store(Device):
    """Units that hold energy between a floor and a ceiling; kinds of it name role and units.

    Attributes:
        floor, ceiling: [D] lowest and highest state of charge as shares of the capacity.
    """

    floor: Tensor
    ceiling: Tensor

    FEATURES = device_features("soc", "energy_kwh", "room_kwh")

    @cached_property
    def _per_kw(self) -> Tensor:
        """Energy stored in a slot of charging, [D] kWh/kW."""
        return self.efficiency * self.slot_h

    @cached_property
    def _per_kwh(self) -> Tensor:
        """Power that energy stored gives for a slot, [D] kW/kWh."""
        return self.efficiency / self.slot_h

    def above_floor(self, state: Any) -> Tensor:
        """Return the energy above the floor, [B, D] kWh."""
        above: Tensor = state.energy_kwh - self.floor * state.capacity_kwh
        return above

    def room(self, state: Any) -> Tensor:
        """Return the room for energy below the ceiling, [B, D] kWh."""
        room: Tensor = self.ceiling * state.capacity_kwh - state.energy_kwh
        return room

    def owed(self, state: Any) -> Tensor:
        """Return the energy that must come within the slot, [B, D] kWh; none for most stores."""
        return torch.zeros_like(self.above_floor(state))

    def spare(self, state: Any) -> Tensor:
        """Return the energy that may go within the slot, [B, D] kWh: all above the floor."""
        return self.above_floor(state).clamp(min=0)

    def band(self, state: Any) -> Band:
        """Return what rating and state of charge allow for a whole slot; see Device."""
        charge = torch.minimum(self.import_kw, self.room(state).clamp(min=0) / self._per_kw)
        must = torch.minimum(charge, self.owed(state) / self._per_kw)
        give = torch.minimum(self.export_kw, self.spare(state) * self._per_kwh)
        return Band(-must, charge - must, give)

    def advance(self, state: Any, power_kw: Tensor) -> Any:
        """Return the state after a slot at a feasible power; see Device."""
        taken_kwh = torch.where(power_kw < 0, power_kw * self._per_kw, power_kw / self._per_kwh)
        return state._replace(energy_kwh=state.energy_kwh - taken_kwh)

    def content_kwh(self, state: Any) -> Tensor:
        """Return the energy stored; see Device."""
        energy: Tensor = state.energy_kwh
        return energy

    def observe(self, state: Any) -> dict[str, Tensor]:
        """Return state of charge, energy above the floor and room; see Device."""
        return {
            "soc": state.energy_kwh / state.capacity_kwh.clamp(min=_SMALL),
            "energy_kwh": self.above_floor(state),
            "room_kwh": self.room(state),
        }

    def _bounds(self, most_kwh: Tensor) -> dict[str, tuple[float, float]]:
        """Return the bounds of what a store shows; see Device.

        `most_kwh` holds capacities [...], the greatest among them.
        """
        most = max(most_kwh.flatten().tolist(), default=0.0)
        return {"soc": (0.0, 1.0), "energy_kwh": (0.0, most), "room_kwh": (0.0, most)}

    def _profile(
        self, idle: list[Any], carried: Tensor, due: Tensor, end_worth: Tensor, reference: Tensor
    ) -> Profile:
        """Return the day's linear programme from the states in which nobody charges.

        Args:
            idle: T of them, as each slot begins.
            carried, due: bool [B, D, T], as Profile says.
            end_worth, reference: [B, D], likewise.
        """
        capacity = torch.stack([state.capacity_kwh for state in idle], -1)
        present = torch.stack([state.energy_kwh for state in idle], -1)
        floor, ceiling = (share.unsqueeze(-1) * capacity for share in (self.floor, self.ceiling))
        return Profile(
            carried=carried.to(present),
            brought_kwh=torch.where(carried, 0.0, present),
            # What starts outside its band, a car that comes with less than its floor, may stay.
            floor_kwh=torch.minimum(floor, present),
            ceiling_kwh=torch.maximum(ceiling, present),
            import_kw=self.import_kw.unsqueeze(-1) * (capacity > 0),
            export_kw=self.export_kw.unsqueeze(-1) * (capacity > 0),
            due=due.to(present),
            target_kwh=capacity,
            end_worth=end_worth,
            reference_kwh=reference,
        )
