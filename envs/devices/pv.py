"""PV inverters that turn down what nobody buys, where the grid charges for what is fed in.

A unit neither takes nor gives of its own accord, so that a seat decides nothing about it: what its
surplus is worth is the seat's must-run valuation, and where the feed-in price lies below the kind's
least, what of it did not clear is not generated. The inverter then holds the seat's position at its
meter as far as the sun allows, as feed-in limiters do (EEG 2023, § 9; § 51 for negative prices);
that it is quick enough for a slot is assumed. Used, fed in and turned down add up to the sun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import SignedEnergyPrice
from gridbazaar.envs.devices.protocol import DEVICES, Band, Device, DeviceConfig, Profile
from gridbazaar.envs.devices.site import Site, per_slot, per_unit
from gridbazaar.envs.prices import SlotPrices


class PvConfig(DeviceConfig):
    """Parameters of all inverters."""

    least_feed_in: Annotated[SignedEnergyPrice, Field(le=0)] = Field(
        description="EUR/kWh, 0 or less, a feed-in price below which surplus is turned down"
    )


class Nothing(NamedTuple):
    """An inverter holds nothing: zeros [B, D]."""

    energy_kwh: Tensor


@DEVICES.register("pv")
@dataclass(frozen=True)
class Pv(Device):
    """Inverters of all homes with PV.

    Attributes:
        pv_kw: [T + 1, D] that the sun offers.
        least_feed_in: [D] EUR/kWh, see PvConfig.
    """

    pv_kw: Tensor
    least_feed_in: Tensor

    Config = PvConfig
    role = "pv"

    @classmethod
    def install(cls, config: PvConfig, site: Site) -> Self:
        """Return an inverter for each home with PV; see Device."""
        kwp = site.ownership.pv_kwp
        home = np.flatnonzero(kwp > 0)
        return cls(
            seat=torch.as_tensor(home),
            import_kw=per_unit(kwp[home], home),
            export_kw=per_unit(0, home),
            efficiency=per_unit(1, home),
            wear_price=per_unit(0, home),
            slot_h=site.slot_h,
            pv_kw=per_slot(site.series.pv_per_kwp[:, home] * kwp[home]),
            least_feed_in=per_unit(config.least_feed_in, home),
        )

    def begin(self, row: Tensor, chance: Tensor) -> Nothing:
        """Hold nothing; see Device."""
        return Nothing(torch.zeros_like(chance))

    def band(self, state: Nothing) -> Band:
        """Neither take nor give; see Device."""
        return Band(*[state.energy_kwh] * 3)

    def advance(self, state: Nothing, power_kw: Tensor) -> Nothing:
        """Stay; see Device."""
        return state

    def content_kwh(self, state: Nothing) -> Tensor:
        """Return zeros; see Device."""
        return state.energy_kwh

    def turns_down_below(self) -> Tensor:
        """Return the price that the task sets; see Device."""
        return self.least_feed_in

    def profile(self, state: Nothing, row: Tensor, end: SlotPrices) -> Profile:
        """Return the day's linear programme, in which what is turned down is taken; see Device."""
        sun = self.pv_kw[row].movedim(-1, -2)
        none, never = torch.zeros_like(sun), torch.zeros_like(sun[..., 0])
        return Profile(
            carried=none,
            brought_kwh=none,
            floor_kwh=none,
            ceiling_kwh=sun * self.slot_h,
            import_kw=sun,
            export_kw=none,
            due=none,
            target_kwh=none,
            end_worth=never,
            reference_kwh=never,
        )
