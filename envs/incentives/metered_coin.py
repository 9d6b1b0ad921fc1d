"""Coin for metered energy, redeemed at a fixed price: what several schemes share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Money, Positive, Share
from gridbazaar.envs.incentives.protocol import GoodsConfig, Incentive, Kind, Movement, Outcome
from gridbazaar.envs.incentives.reading import Reading

COIN = "coin"


class CoinConfig(GoodsConfig):
    """Parameters of a coin that is issued for metered energy."""

    kwh_per_coin: Positive = Field(
        description="metered energy that one coin is issued for", json_schema_extra={"unit": "kWh"}
    )
    redeem_price: Money = Field(description="EUR that the issuer gives for a coin")
    redeem_share: Share = Field(
        description="of what a seat holds that it redeems in each interval; all the rest is "
        "redeemed at the day's end"
    )
    demurrage_per_h: Share = Field(description="of what a seat holds that is lost in an hour")


class MeteredCoin(Incentive):
    """A coin for every so many kWh of something metered; its holder redeems it sooner or later."""

    Config: ClassVar[type[GoodsConfig]] = CoinConfig
    goods: ClassVar[dict[str, Kind]] = {COIN: "coin"}

    @abstractmethod
    def earned_kwh(self, reading: Reading) -> Tensor:
        """Return the energy [B, N] kWh that coins are issued for."""

    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Issue coins, let those held age, and redeem a share."""
        issued = self.earned_kwh(reading) / self.config.kwh_per_coin
        before = held[COIN].clamp(min=0)  # rounding may leave less than nothing
        expired = aged(before, self.config.demurrage_per_h, reading.slot_h)
        redeemed = self.redeemed(before - expired + issued, reading)
        movement = Movement(issued, torch.zeros_like(issued), redeemed, expired)
        return Outcome(redeemed * self.config.redeem_price, {COIN: movement}, {})

    def redeemed(self, available: Tensor, reading: Reading) -> Tensor:
        """Return the coins [B, N], of those at hand, that are redeemed in the interval."""
        return available * (1.0 if reading.last else self.config.redeem_share)


def aged(held: Tensor, per_h: float, hours: float) -> Tensor:
    """Return what so many hours of demurrage take from holdings, [B, N]."""
    return held * (1 - (1 - per_h) ** hours)
