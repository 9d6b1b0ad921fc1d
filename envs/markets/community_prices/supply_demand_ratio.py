"""Supply-demand ratio: the scarcer local energy is, the dearer."""

from __future__ import annotations

from gridbazaar.envs.markets.community_prices.ratio_price import consistent_price
from gridbazaar.envs.markets.posted_price import accepting_kw, at_one_price, share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS


@MARKETS.register("supply_demand_ratio")
class SupplyDemandRatio(Market):
    """Supply-demand ratio: one price that falls from retail to feed-in as supply covers demand.

    p = p_feed p_retail / ((p_retail - p_feed) r + p_feed) up to r = supply / demand = 1, p_feed
    beyond; the longer side shares pro rata and takes its rest to the grid, so that a buyer pays
    p r + p_retail (1 - r) on average, as the paper has it. The retail price is reduced by the
    charge on local energy.

    Limits are not in the paper: an order whose limit the price does not meet is left out, and the
    ratio is of those that are in (`consistent_price`). Beyond balance the sellers get no more
    than feed-in: `compensated` mends that.

    Source: Liu, Yu, Wang, Li, Ma, Lei (2017), "Energy-sharing model with price-based demand
    response for microgrids of peer-to-peer prosumers", IEEE Transactions on Power Systems 32(5).
    """

    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "one_price"}
    )

    def __init__(self, config: MarketConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Find the price that its own orders agree with, and match them."""
        price = consistent_price(orders, context.seller_floor, context.buyer_ceiling)
        cleared_kw = share_pro_rata(accepting_kw(orders, price))
        return at_one_price(cleared_kw, price, context.slot_h)
