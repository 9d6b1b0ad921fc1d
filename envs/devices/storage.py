"""Stationary batteries of homes and of the community."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from gridbazaar.config import EnergyPrice, PositiveShare, Share
from gridbazaar.envs.devices.protocol import DEVICES, DeviceConfig, Profile
from gridbazaar.envs.devices.site import Site, per_unit
from gridbazaar.envs.devices.store import Content, Store
from gridbazaar.envs.observation import device_features
from gridbazaar.envs.prices import SlotPrices


class StorageConfig(DeviceConfig):
    """Parameters of stationary batteries."""

    round_trip_efficiency: PositiveShare = Field(description="energy given back over energy taken")
    soc_floor: Share = Field(description="of the capacity, below which a battery gives nothing")
    soc_ceiling: Share = Field(description="of the capacity, above which it takes nothing")
    wear_price: EnergyPrice = Field(description="EUR per kWh discharged")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.soc_floor >= self.soc_ceiling:
            raise ValueError(
                f"soc_floor {self.soc_floor} must lie below soc_ceiling {self.soc_ceiling}"
            )
        return self


@DEVICES.register("storage")
@dataclass(frozen=True)
class Storage(Store):
    """Batteries of the homes that drew one, and those of the community.

    Attributes:
        capacity_kwh: [D].
    """

    capacity_kwh: Tensor

    Config = StorageConfig
    role = "storage"
    battery = True
    RATINGS = device_features("storage_kwh")

    @classmethod
    def install(cls, config: StorageConfig, site: Site) -> Self:
        """Return the batteries that ownership gives; see Device."""
        owned = site.ownership
        at_home = np.flatnonzero(owned.battery_kwh > 0)
        shared = site.add_seats(cls.role, np.full(len(owned.community_kwh), site.busbar))
        owner = np.concatenate([at_home, shared])
        rated_kw = per_unit(np.concatenate([owned.battery_kw[at_home], owned.community_kw]), owner)
        return cls(
            seat=torch.as_tensor(owner),
            import_kw=rated_kw,
            export_kw=rated_kw,
            efficiency=per_unit(config.round_trip_efficiency**0.5, owner),
            wear_price=per_unit(config.wear_price, owner),
            slot_h=site.slot_h,
            floor=per_unit(config.soc_floor, owner),
            ceiling=per_unit(config.soc_ceiling, owner),
            capacity_kwh=per_unit(
                np.concatenate([owned.battery_kwh[at_home], owned.community_kwh]), owner
            ),
        )

    def begin(self, row: Tensor, chance: Tensor) -> Content:
        """Start anywhere between floor and ceiling; see Device."""
        band = self.floor + chance * (self.ceiling - self.floor)
        return Content(band * self.capacity_kwh, self.capacity_kwh.expand_as(band))

    def stored_eur(self, before: Content, after: Content, end: SlotPrices, over: bool) -> Tensor:
        """Value what was gained as what it would give at the day's end; see Device."""
        gained_kwh = after.energy_kwh - before.energy_kwh
        return gained_kwh * (end.stored_worth * self.efficiency)

    def ratings(self) -> dict[str, Tensor]:
        """Return the capacity; see Device."""
        return {"storage_kwh": self.capacity_kwh}

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return what the largest battery holds; see Device."""
        return self._bounds(self.capacity_kwh)

    def profile(self, state: Content, row: Tensor, end: SlotPrices) -> Profile:
        """Return the day's linear programme; see Device."""
        first = torch.arange(row.shape[1], device=row.device) == 0
        carried = (~first).expand(*state.energy_kwh.shape, -1)
        return self._profile(
            [state] * row.shape[1],
            carried,
            torch.zeros_like(carried),
            end.stored_worth * self.efficiency,
            state.energy_kwh,
        )
