"""Discriminatory double auction: every pair of orders has its own price."""

from __future__ import annotations

from pydantic import Field

from gridbazaar.config import Share
from gridbazaar.envs.markets.auctions.merit_order import pair_money
from gridbazaar.envs.markets.book import cross, fill
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import at_mean_prices


class PayAsBidConfig(MarketConfig):
    """Parameters of the discriminatory auction."""

    k: Share = Field(description="of the way from a pair's ask (0) to its bid (1)")


@MARKETS.register("pay_as_bid")
class PayAsBid(Market):
    """Discriminatory auction; the cheapest ask meets the highest bid, each pair at its own price.

    Trades the volume of the uniform auction. Each kWh costs k * bid + (1 - k) * ask of the two
    orders that merit order pairs: at k = 1 buyers pay exactly what they bid and the sellers that
    face them receive it, at k = 0 sellers receive exactly what they asked. Nothing is left to the
    operator. Ties share pro rata, also in the prices of their partners.

    Source: Nicolaisen, Petrov and Tesfatsion (2001), "Market power and efficiency in a
    computational electricity market with discriminatory double-auction pricing", IEEE Transactions
    on Evolutionary Computation 5(5) (k = 0.5); orders here are divisible.
    """

    Config = PayAsBidConfig
    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "efficient"}
    )
    contract = "pairs"

    def __init__(self, config: PayAsBidConfig):
        self.k = config.k

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match in merit order and price pair by pair."""
        limit = orders.limit_price
        cleared_kw = fill(orders.quantity_kw, limit, cross(orders.quantity_kw, limit))
        return at_mean_prices(orders, context, cleared_kw, pair_money(cleared_kw, limit, self.k))
