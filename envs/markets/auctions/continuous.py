"""Continuous double auction: orders trade as the ledger brings them."""

from __future__ import annotations

from gridbazaar.envs.markets.auctions.price_time import trade_on_arrival
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import at_mean_prices


@MARKETS.register("continuous")
class Continuous(Market):
    """Continuous double auction; price-time priority, at the price of the order that waited.

    Orders come in the order of `arrival_s`. One seat has one order, which may trade with several
    partners at several prices; `price` is its mean. Nothing that waits at the end crosses, but an
    early bargain can keep out a better partner: the surplus may stay below the largest.

    Source: Smith (1962), "An experimental study of competitive market behavior", Journal of
    Political Economy 70(2); Friedman (1993) for the rules. NRGcoin (Mihaylov et al. 2014) trades
    local energy so.
    """

    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})
    time_priority = True
    contract = "pairs"

    def __init__(self, config: MarketConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match orders one by one as they arrived."""
        fills = trade_on_arrival(orders)
        rounds = fills.arrivals.clamp(min=1)
        return at_mean_prices(
            orders, context, fills.cleared_kw, fills.money_per_h, iterations=rounds
        )
