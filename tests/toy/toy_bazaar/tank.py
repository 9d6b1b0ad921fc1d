"""Tanks of hot water that cool down: in the homes with PV, and one at the busbar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from gridbazaar.config import NonNegative, Positive, Share
from gridbazaar.envs.devices.protocol import DEVICES, DeviceConfig, Profile
from gridbazaar.envs.devices.site import Site, per_unit
from gridbazaar.envs.devices.store import Content, Store
from gridbazaar.envs.observation import Feature, device_features
from gridbazaar.envs.prices import SlotPrices


class ToyTankConfig(DeviceConfig):
    """Parameters of the tanks."""

    power_kw: NonNegative
    capacity_kwh: Positive
    kept: Share


@DEVICES.register("toy_tank")
@dataclass(frozen=True)
class ToyTank(Store):
    """Tanks that are heated, lose heat, and give nothing back.

    Attributes:
        capacity_kwh: [D].
        kept: [D] share of the heat that is left after a slot.
    """

    capacity_kwh: Tensor
    kept: Tensor

    Config = ToyTankConfig
    role = "toy_tank"
    FEATURES = (
        *device_features("soc", "energy_kwh", "room_kwh"),
        Feature("toy_cooling", "kWh", 10.0, "heat that the tank loses in a slot"),
    )

    @classmethod
    def install(cls, config: ToyTankConfig, site: Site) -> Self:
        """Return a tank for each home with PV, and one with a seat of its own."""
        shared = site.add_seats(cls.role, [site.busbar])
        owner = np.concatenate([np.flatnonzero(site.ownership.pv_kwp > 0), shared])
        values = (config.power_kw, 0, 1, 0)
        more = (0, 1, config.capacity_kwh, config.kept)
        return cls(
            torch.as_tensor(owner),
            *(per_unit(value, owner) for value in values),
            site.slot_h,
            *(per_unit(value, owner) for value in more),
        )

    def begin(self, row: Tensor, chance: Tensor) -> Content:
        """Start anywhere between cold and hot."""
        return Content(chance * self.capacity_kwh, self.capacity_kwh.expand_as(chance))

    def room(self, state: Content) -> Tensor:
        """Return the room that is left when the tank has cooled."""
        return state.capacity_kwh - state.energy_kwh * self.kept

    def advance(self, state: Content, power_kw: Tensor) -> Content:
        """Cool, and heat."""
        cooled = state._replace(energy_kwh=state.energy_kwh * self.kept)
        after: Content = super().advance(cooled, power_kw)
        return after

    def stored_eur(self, before: Content, after: Content, end: SlotPrices, over: bool) -> Tensor:
        """Value heat at the feed-in tariff."""
        return (after.energy_kwh - before.energy_kwh) * end.feed_in

    def observe(self, state: Content) -> dict[str, Tensor]:
        """Return what stores show, and the loss to come."""
        return super().observe(state) | {"toy_cooling": state.energy_kwh * (1 - self.kept)}

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return what stores show at most, and the loss of the hottest tank."""
        most = (self.capacity_kwh * (1 - self.kept)).max()
        return {**self._bounds(self.capacity_kwh), "toy_cooling": (0.0, float(most))}

    def profile(self, state: Content, row: Tensor, end: SlotPrices) -> Profile:
        """Return the day's linear programme."""
        slots = row.shape[1]
        later = (torch.arange(slots, device=row.device) > 0).expand(*state.energy_kwh.shape, -1)
        worth = end.feed_in.expand_as(state.energy_kwh)
        day = self._profile(
            [state] * slots, later, torch.zeros_like(later), worth, state.energy_kwh
        )
        kept = self.kept.unsqueeze(-1)
        return day._replace(carried=day.carried * kept, brought_kwh=day.brought_kwh * kept)
