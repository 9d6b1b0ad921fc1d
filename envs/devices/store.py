"""Stored energy: what power a store can give or take, and what is left after it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.devices.protocol import Device, Profile
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

    def feasible(self, state: Any, request_kw: Tensor) -> Tensor:
        """Clip a request to what rating and state of charge allow for a whole slot; see Device."""
        energy, capacity = state.energy_kwh, state.capacity_kwh
        above_floor = (energy - self.floor * capacity).clamp(min=0)
        below_ceiling = (self.ceiling * capacity - energy).clamp(min=0)
        discharge = torch.minimum(self.export_kw, above_floor * (self.efficiency / self.slot_h))
        charge = torch.minimum(self.import_kw, below_ceiling / (self.efficiency * self.slot_h))
        return torch.minimum(torch.maximum(request_kw, -charge), discharge)

    def advance(self, state: Any, power_kw: Tensor) -> Any:
        """Return the state after a slot at a feasible power; see Device."""
        charged = (-power_kw).clamp(min=0) * self.efficiency
        discharged = power_kw.clamp(min=0) / self.efficiency
        energy = state.energy_kwh + (charged - discharged) * self.slot_h
        return state._replace(energy_kwh=energy)

    def content_kwh(self, state: Any) -> Tensor:
        """Return the energy stored; see Device."""
        energy: Tensor = state.energy_kwh
        return energy

    def observe(self, state: Any) -> dict[str, Tensor]:
        """Return state of charge, energy above the floor and room; see Device."""
        energy, capacity = state.energy_kwh, state.capacity_kwh
        return {
            "soc": energy / capacity.clamp(min=_SMALL),
            "energy_kwh": energy - self.floor * capacity,
            "room_kwh": self.ceiling * capacity - energy,
        }

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
