"""Continuous double auction: orders trade as the ledger brings them."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Count, PositiveShare, Share
from gridbazaar.envs.markets.auctions.price_time import trade_on_arrival
from gridbazaar.envs.markets.book import tolerance_kw
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import at_mean_prices


class ContinuousConfig(MarketConfig):
    """Parameters of the session."""

    quotes: Count = Field(
        description="times that an order may be quoted within a session; 1 is as it came",
    )
    opening: Share = Field(
        description="of the way from an order's limit to the far end of the grid's prices at which "
        "it is quoted first; 0 is the limit",
    )
    step: PositiveShare = Field(
        description="of the gap between the grid's prices by which an unfilled order's quote moves "
        "towards the other side's best",
    )


@MARKETS.register("continuous")
class Continuous(Market):
    """Continuous double auction; price-time priority, at the price of the order that waited.

    Orders come in the order of `arrival_s`. One seat has one order, which may trade with several
    partners at several prices; `price` is its mean. Nothing that waits at the end crosses, but an
    early bargain can keep out a better partner: the surplus may stay below the largest.

    With `quotes` above 1 a session has rounds. An order is quoted first at a price better for its
    seat than its limit (`opening`). Who still has energy when all have come quotes again, in the
    same sequence: nearer by `step` to the best quote of the other side, not beyond it, and never
    beyond its own limit. A new quote is one more transaction of its seat.

    Source: Smith (1962), "An experimental study of competitive market behavior", Journal of
    Political Economy 70(2); Friedman (1993) for the rules. NRGcoin (Mihaylov et al. 2014) trades
    local energy so. That a session's quotes adapt to the market is EPS 5.2.2 [88, 89]; how is
    assumed, and what seats themselves learn is the bidders' (`adaptive_aggressive`).
    """

    Config = ContinuousConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})
    time_priority = True

    def __init__(self, config: ContinuousConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match orders one by one as they arrived, and again as they are quoted anew."""
        quote = self._opened(orders, context)
        fills = trade_on_arrival(replace(orders, limit_price=quote))
        cleared, money, rounds = fills.cleared_kw, fills.money_per_h, fills.arrivals
        messages = torch.zeros_like(rounds)
        for _ in range(self.config.quotes - 1):
            left = orders.quantity_kw - cleared
            left = left.where(left.abs() > tolerance_kw(orders.quantity_kw), 0.0)
            before, quote = quote, self._nearer(orders, left, quote, context)
            moved = (quote != before) & (left != 0)
            if not bool(moved.any()):
                break
            again = replace(orders, quantity_kw=left, limit_price=quote)
            fills = trade_on_arrival(again)
            cleared, money = cleared + fills.cleared_kw, money + fills.money_per_h
            rounds = rounds + fills.arrivals * moved.any(-1)
            messages = messages + orders.seats_with(moved).sum(-1)
        return at_mean_prices(
            orders, context, cleared, money, iterations=rounds.clamp(min=1), messages=messages
        )

    def _opened(self, orders: Orders, context: Context) -> Tensor:
        """Return the first quotes, [B, M] EUR/kWh; a limit beyond the grid's price is one."""
        limit, opening = orders.limit_price, self.config.opening
        if opening == 0:
            return limit
        ask = torch.lerp(limit, torch.maximum(limit, context.buyer_ceiling), opening)
        bid = torch.lerp(limit, torch.minimum(limit, context.seller_floor), opening)
        return torch.where(orders.quantity_kw > 0, ask, bid)

    def _nearer(self, orders: Orders, left: Tensor, quote: Tensor, context: Context) -> Tensor:
        """Return the next quotes of orders that have `left` [B, M] kW; all others' stay."""
        step = self.config.step * (context.buyer_ceiling - context.seller_floor)
        sells, buys = left > 0, left < 0
        best_bid = quote.where(buys, -torch.inf).amax(-1, keepdim=True)
        best_ask = quote.where(sells, torch.inf).amin(-1, keepdim=True)
        ask = torch.maximum(torch.maximum(quote - step, best_bid), orders.limit_price)
        bid = torch.minimum(torch.minimum(quote + step, best_ask), orders.limit_price)
        ask, bid = torch.minimum(ask, quote), torch.maximum(bid, quote)
        ask, bid = ask.where(best_bid.isfinite(), quote), bid.where(best_ask.isfinite(), quote)
        return torch.where(sells, ask, torch.where(buys, bid, quote))
