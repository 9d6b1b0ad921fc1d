"""Call auction that gives a guide price, then continuous trade near it."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import PositiveShare, Share
from gridbazaar.envs.markets.auctions.price_time import trade_on_arrival
from gridbazaar.envs.markets.book import cross, fill
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import at_mean_prices


class TwoStageConfig(MarketConfig):
    """Parameters of the two stages."""

    call_share: PositiveShare = Field(
        description="of the orders, by arrival, that the call waits for",
    )
    k: Share = Field(description="of the call: 0 gives the gains to buyers, 1 to sellers")
    band: Share = Field(
        description="of the gap between the grid's prices, to either side of the guide price",
    )


@MARKETS.register("two_stage")
class TwoStage(Market):
    """Call auction for a guide price, then a continuous auction within a band around it.

    The orders of the first `call_share` of seats to arrive are matched in one k-double auction; its
    price is the guide. What it left unfilled and what arrives later trades continuously by
    price-time priority, at no more than the guide + w and no less than the guide - w, where w is
    `band` times the gap between the grid's two prices: bids above that are taken down to it and
    asks below it up to it. If the call trades nothing there is no guide, and no band.

    Source: the two stages of EPS 5.2.2, "call auction ... provides guiding prices", then a double
    auction; the survey gives neither the split nor the band, which are assumed.
    """

    Config = TwoStageConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})
    time_priority = True
    contract = "pairs"

    def __init__(self, config: TwoStageConfig):
        self.call_share, self.k, self.band = config.call_share, config.k, config.band

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Hold the call, then trade what is left as it arrived."""
        quantity, limit = orders.quantity_kw, orders.limit_price
        early_kw = quantity * _arrived_first(orders, self.call_share)
        crossing = cross(early_kw, limit)
        called_kw = fill(early_kw, limit, crossing)
        guide = self.k * crossing.bid_price + (1 - self.k) * crossing.ask_price
        width = self.band * (context.buyer_ceiling - context.seller_floor)
        near = torch.where(
            quantity > 0,
            torch.maximum(limit, guide - width),
            torch.minimum(limit, guide + width),
        )
        near = torch.where(crossing.volume_kw > 0, near, limit)
        left = replace(orders, quantity_kw=quantity - called_kw, limit_price=near)
        later = trade_on_arrival(left)

        cleared_kw = called_kw + later.cleared_kw
        money = called_kw * guide + later.money_per_h
        return at_mean_prices(orders, context, cleared_kw, money, iterations=1 + later.arrivals)


def _arrived_first(orders: Orders, share: float) -> Tensor:
    """Return the orders of the first `share` of the seats to arrive, rounded up; [B, M] bool."""
    live = orders.quantity_kw != 0
    arrival = torch.where(live, orders.arrival_s, torch.inf)
    if orders.shared is not None:
        first = orders.shared.by_seat(arrival, torch.inf).amin(-2)
        last = _last_of_share(first, first.isfinite(), share)
        return live & orders.shared.of_seat(first <= last)
    return live & (arrival <= _last_of_share(arrival, live, share))


def _last_of_share(arrival: Tensor, live: Tensor, share: float) -> Tensor:
    """Return when the last of the first `share` of those that are live arrived, [B, 1] s."""
    count = (live.sum(-1, keepdim=True) * share).ceil().long()
    return arrival.sort(-1).values.gather(-1, (count - 1).clamp(min=0))
