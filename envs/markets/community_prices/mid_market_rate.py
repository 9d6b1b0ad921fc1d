"""Mid-market rate: one price half-way between the grid's two."""

from __future__ import annotations

import torch
from pydantic import Field

from gridbazaar.config import Share
from gridbazaar.envs.markets.posted_price import accepting_kw, at_one_price, share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS


class MidMarketRateConfig(MarketConfig):
    """Parameters of the mid-market rate."""

    position: Share = Field(description="of the price between feed-in (0) and retail (1)")


@MARKETS.register("mid_market_rate")
class MidMarketRate(Market):
    """Mid-market rate: a price midway between the grid's two; the longer side shares pro rata.

    The paper's three cases are one here, because a seat's rest goes to the grid at the grid's
    price. Balance: all at p_mid. Surplus: a seller sells D/G of its energy at p_mid and the rest
    at feed-in, on average (D p_mid + (G - D) p_feed) / G. Shortage: a buyer pays on average
    (G p_mid + (D - G) p_retail) / D. The retail price is reduced by the charge on local energy.

    Limits are not in the paper: an order whose limit the price does not meet is left out. As a
    price that no order moves, it is truthful (Hagerty and Rogerson 1987, "Robust trading
    mechanisms", Journal of Economic Theory 42(1)), as long as a seat has one order: of several, one
    that is said to accept the price or not moves the share that all get of the longer side.

    Source: Long, Wu, Zhang, Thomas, Cheng, Jenkins (2017), "Peer-to-peer energy trading in a
    community microgrid", IEEE PES General Meeting.
    """

    Config = MidMarketRateConfig
    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "truthful", "one_price"}
    )

    single_order_claims: frozenset[Claim] = frozenset({"truthful"})

    def __init__(self, config: MidMarketRateConfig):
        self.position = config.position

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match all orders that accept the price."""
        price = torch.lerp(context.seller_floor, context.buyer_ceiling, self.position)
        cleared_kw = share_pro_rata(accepting_kw(orders, price))
        return at_one_price(cleared_kw, price, context.slot_h)
