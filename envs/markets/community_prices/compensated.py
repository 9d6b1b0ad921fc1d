"""Supply-demand ratio with a compensating price on top of feed-in."""

from __future__ import annotations

import torch
from pydantic import Field

from gridbazaar.config import Share
from gridbazaar.envs.markets.community_prices.ratio_price import consistent_price
from gridbazaar.envs.markets.posted_price import accepting_kw, at_one_price, share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS


class CompensatedConfig(MarketConfig):
    """Parameters of the compensating price."""

    compensation: Share = Field(
        description="of the gap between retail and feed-in, paid to sellers above feed-in",
    )


@MARKETS.register("compensated")
class Compensated(Market):
    """Supply-demand ratio whose sellers get a compensating price on top of feed-in.

    With p_low = p_feed + c, c = compensation * (p_retail - p_feed), and r = supply / demand:
    p = p_low p_retail / ((p_retail - p_low) r + p_low) up to r = 1, p_low beyond, where the
    sellers' mean over local and grid sales is p_feed + c / r. With 0 < c below the gap every kWh
    traded leaves both sides better off than the grid does, at any ratio. That holds for what is
    traded and not for a bill: forecast errors, penalties and fees are outside the price. The retail
    price is reduced by the charge on local energy; where that leaves it below feed-in, no price
    serves both and nothing trades.

    Limits are not in the paper: an order whose limit the price does not meet is left out.

    Source: Long, Wu, Zhou, Jenkins (2018), "Peer-to-peer energy sharing through a two-stage
    aggregated battery control in a community microgrid", Applied Energy 226, on Liu et al. (2017).
    """

    Config = CompensatedConfig
    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "one_price"}
    )

    def __init__(self, config: CompensatedConfig):
        self.compensation = config.compensation

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Find the price that its own orders agree with, and match them."""
        floor, ceiling = context.seller_floor, context.buyer_ceiling
        low = torch.lerp(floor, ceiling, self.compensation)
        price = consistent_price(orders, low, ceiling)
        willing_kw = accepting_kw(orders, price) * (ceiling >= floor)
        return at_one_price(share_pro_rata(willing_kw), price, context.slot_h)
