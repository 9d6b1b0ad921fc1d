"""Sealed-bid double auction with one price for all."""

from __future__ import annotations

import torch
from pydantic import Field

from gridbazaar.config import Share
from gridbazaar.envs.markets.book import cross, fill
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS


class UniformAuctionConfig(MarketConfig):
    """Parameters of the k-double auction."""

    k: Share = Field(description="0 gives the gains to buyers, 1 to sellers")


@MARKETS.register("uniform_auction")
class UniformAuction(Market):
    """Uniform-price k-double auction; ties at the margin share pro rata.

    Trades the largest volume at which supply and demand cross, all of it at
    k * (cheapest accepted bid) + (1 - k) * (dearest accepted ask): the buyers gain most at k = 0,
    the sellers at k = 1.

    Source: Satterthwaite and Williams (1989), "Bilateral trade with the sealed bid k-double
    auction", Journal of Economic Theory 48(1), with divisible orders.
    """

    Config = UniformAuctionConfig
    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "efficient", "one_price"}
    )
    contract = "auction"

    def __init__(self, config: UniformAuctionConfig):
        self.k = config.k

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match all orders at one price."""
        crossing = cross(orders.quantity_kw, orders.limit_price)
        cleared_kw = fill(orders.quantity_kw, orders.limit_price, crossing)
        price = self.k * crossing.bid_price + (1 - self.k) * crossing.ask_price
        traded = crossing.volume_kw > 0
        return Clearing(
            cleared_kw=cleared_kw,
            price=price * (cleared_kw != 0),
            payment_eur=cleared_kw * price * context.slot_h,
            reference_price=torch.where(traded, price, torch.nan).squeeze(-1),
            converged=torch.ones_like(traded).squeeze(-1),
        )
