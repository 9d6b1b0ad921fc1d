"""Balancing by stores: a system operator pays cars, or batteries, for reserve and energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import EnergyPrice
from gridbazaar.envs.incentives.protocol import (
    INCENTIVES,
    Incentive,
    IncentiveConfig,
    Outcome,
    share_of,
)
from gridbazaar.envs.incentives.reading import Reading


class BalancingConfig(IncentiveConfig):
    """Parameters of the service."""

    units: Literal["cars", "batteries", "all"] = Field(
        description="who serves: plugged cars, batteries that stay, or both"
    )
    reserve_price: EnergyPrice = Field(
        description="for a kW of upward reserve held for an hour",
        json_schema_extra={"unit": "EUR/(kW h)"},
    )
    energy_price: EnergyPrice = Field(
        description="EUR per kWh that they give while seats together are short"
    )


@INCENTIVES.register("v2g_balancing")
class V2gBalancing(Incentive):
    """Balancing service of cars or batteries: paid for reserve held, and for energy in a shortage.

    Reserve is what plugged cars could have given beyond what they did, by not charging or by
    feeding back, and still be full in time, as the chargers show; of batteries, what they hold.
    Energy counts where the seats' deviations from their positions add up to a shortage, no more
    than it, shared among those that gave. It is paid on top of what the energy earns in the market
    and the pool.

    Source: IOT Table IV, TenneT and Vandebron [75] ("combine blockchain technology and
    vehicle-to-grid; provision of balancing and ancillary services"); DER Table 2 names TenneT and
    sonnen too, a maker of batteries for homes. They print no product and no price; upward reserve,
    the community's own imbalance as the call, and both prices are assumed.
    """

    Config = BalancingConfig
    payer = "system operator"
    backed_by: ClassVar[dict[str, str]] = {"reserve": "car_reserve_kwh", "energy": "car_kwh"}

    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Pay for reserve, and for what was given against the shortage."""
        c, given = self.config, torch.zeros_like(reading.car_kwh)
        reserve = given
        if c.units != "batteries":
            given = given + reading.car_kwh.clamp(min=0)
            reserve = reserve + reading.car_reserve_kwh
        if c.units != "cars":
            given = given + reading.battery_kwh.clamp(min=0)
            reserve = reserve + reading.battery_reserve_kwh
        shortage = (-reading.deviation_kwh.sum(-1, keepdim=True)).clamp(min=0)
        useful = share_of(given) * torch.minimum(given.sum(-1, keepdim=True), shortage)
        paid = reserve * c.reserve_price + useful * c.energy_price
        return Outcome(paid, {}, {})
