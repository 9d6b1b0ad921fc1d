"""Energy and data coins: who gave energy and reported its data pays less for what it draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import EnergyPrice
from gridbazaar.envs.incentives.protocol import (
    INCENTIVES,
    GoodsConfig,
    Incentive,
    Kind,
    Movement,
    Outcome,
    share_of,
)
from gridbazaar.envs.incentives.reading import Reading

_ENERGY, _DATA = "energy", "data"


class CoinsConfig(GoodsConfig):
    """Parameters of the two coins."""

    earners: Literal["cars", "all"] = Field(
        description="whose energy earns coins: cars that give, or every meter that exports"
    )
    levy: EnergyPrice = Field(
        description="EUR/kWh drawn, which pays for the lower price of those with coins"
    )


@INCENTIVES.register("energy_and_data_coins")
class EnergyAndDataCoins(Incentive):
    """An energy coin per kWh given and a data coin per report; both lower the price of energy.

    Every seat pays `levy` on what it draws, and the sum is shared out over the same kWh in
    proportion to the standing of who drew them: energy coins held, times the share of the day's
    intervals in which the seat reported (data coins). Seats without coins pay for those with
    them; with no coins held by anybody who draws, nothing is levied. Coins are not spent.

    Source: EPS 6.1 [117]: energy coins by the amount of energy contributed, data coins by the
    frequency of data contributed; who has more gets "higher priority or a lower energy price", and
    "its data will be given greater credibility". How much lower is assumed.
    """

    Config = CoinsConfig
    payer = "members"
    goods: ClassVar[dict[str, Kind]] = {_ENERGY: "coin", _DATA: "coin"}
    backed_by: ClassVar[dict[str, str]] = {_ENERGY: "exported_kwh", _DATA: "reports"}

    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Issue coins for the interval; levy and share out by those held before it."""
        given = reading.exported_kwh
        if self.config.earners == "cars":
            given = torch.minimum(given, reading.car_kwh.clamp(min=0))
        credible = held[_DATA] / max(reading.slot, 1)
        share = share_of(reading.imported_kwh * held[_ENERGY] * credible)
        levied = reading.imported_kwh * self.config.levy * (share.sum(-1, keepdim=True) > 0)
        nothing = torch.zeros_like(given)
        movements = {
            _ENERGY: Movement(given, nothing, nothing, nothing),
            _DATA: Movement(reading.reports, nothing, nothing, nothing),
        }
        return Outcome(share * levied.sum(-1, keepdim=True) - levied, movements, {})
