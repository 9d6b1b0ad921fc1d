"""NRGcoin: a coin per injected kWh that pays for a kWh of the district's renewable energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Money, Positive, Share
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

_COIN = "coin"


class NrgCoinConfig(GoodsConfig):
    """Parameters of NRGcoin."""

    kwh_per_coin: Positive = Field(
        description="renewable energy that a coin is issued for, and that it pays",
        json_schema_extra={"unit": "kWh"},
    )
    exchange_rate: Share = Field(
        description="price of a coin among seats, as a share of the retail price of its energy"
    )
    buy_back_price: Money = Field(
        description="EUR that the grid operator gives for a coin that is left at the day's end"
    )


@INCENTIVES.register("nrgcoin")
class NrgCoin(Incentive):
    """NRGcoin: issued per kWh of own sun injected, and handed in for the district's green energy.

    A meter that exports own sun creates coins. A meter that draws, from the supplier, energy which
    neighbours' sun covers meanwhile pays with coins in place of the retail price: its seat buys
    them from those who hold some, at `exchange_rate`, and hands them in; where holders have too few
    for all, buyers share them in proportion. What nobody bought by the end of the day, the grid
    operator buys back. The operator bears what it hands back to buyers, as it does in the scheme;
    energy that was traded in the local market was paid for there.

    Source: EPS 5.3.3 ("a virtual currency that can be redeemed with a legal tender"); Mihaylov et
    al. (2016), "Boosting the renewable energy economy with NRGcoin", ICT4S 2016: a coin per kWh
    injected, a kWh of green energy costs a coin whatever the retail price, and coins change hands
    for euro close to it. Its exchange, a continuous double auction, is replaced by one rate.
    """

    Config = NrgCoinConfig
    payer = "grid operator"
    goods: ClassVar[dict[str, Kind]] = {_COIN: "coin"}
    backed_by: ClassVar[dict[str, str]] = {_COIN: "pv_kwh"}

    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Issue coins for what is injected, and let them pay for green energy."""
        c, retail = self.config, reading.tariff.retail
        issued = reading.sun_exported_kwh / c.kwh_per_coin
        at_hand = (held[_COIN] + issued).clamp(min=0)  # rounding may leave less than nothing
        wanted = green_draw_kwh(reading) / c.kwh_per_coin
        supply, demand = at_hand.sum(-1, keepdim=True), wanted.sum(-1, keepdim=True)
        # Nobody hands in coins where energy is free.
        volume = torch.minimum(supply, demand) * (retail > 0)
        sold, bought = share_of(at_hand) * volume, share_of(wanted) * volume
        left = at_hand - sold
        bought_back = left if reading.last else torch.zeros_like(left)
        worth = retail * c.kwh_per_coin
        payment = (sold - bought) * (c.exchange_rate * worth) + bought * worth
        movement = Movement(issued, bought - sold, bought + bought_back, torch.zeros_like(issued))
        return Outcome(payment + bought_back * c.buy_back_price, {_COIN: movement}, {})


def green_draw_kwh(reading: Reading) -> Tensor:
    """Return what seats drew from the supplier while it had it from neighbours' sun, [B, N] kWh."""
    sun = torch.minimum(reading.to_supplier_kwh, reading.pv_kwh).sum(-1, keepdim=True)
    drawn = reading.from_supplier_kwh
    return share_of(drawn) * torch.minimum(sun, drawn.sum(-1, keepdim=True))
