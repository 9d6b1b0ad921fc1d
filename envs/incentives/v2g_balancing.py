"""Balancing by cars: a system operator pays plugged cars for reserve, and for what they give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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

    reserve_price: EnergyPrice = Field(
        description="for a kW of upward reserve held for an hour",
        json_schema_extra={"unit": "EUR/(kW h)"},
    )
    energy_price: EnergyPrice = Field(
        description="EUR per kWh that cars give while seats together are short"
    )


@INCENTIVES.register("v2g_balancing")
class V2gBalancing(Incentive):
    """Balancing service of cars: paid for reserve held, and for energy given against a shortage.

    Reserve is what plugged cars could have given beyond what they did, by not charging or by
    feeding back, and still be full in time, as the chargers show. Energy counts where the seats'
    deviations from their positions add up to a shortage, no more than it, shared among the cars
    that gave. It is paid on top of what the energy earns in the market and the pool.

    Source: IOT Table IV, TenneT and Vandebron [75] ("combine blockchain technology and
    vehicle-to-grid; provision of balancing and ancillary services"). It prints no product and no
    price; upward reserve, the community's own imbalance as the call, and both prices are assumed.
    """

    Config = BalancingConfig
    payer = "system operator"
    backed_by: ClassVar[dict[str, str]] = {"reserve": "car_reserve_kwh", "energy": "car_kwh"}

    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Pay for reserve, and for what cars gave against the shortage."""
        given = reading.car_kwh.clamp(min=0)
        shortage = (-reading.deviation_kwh.sum(-1, keepdim=True)).clamp(min=0)
        useful = share_of(given) * torch.minimum(given.sum(-1, keepdim=True), shortage)
        c = self.config
        paid = reading.car_reserve_kwh * c.reserve_price + useful * c.energy_price
        return Outcome(paid, {}, {})
