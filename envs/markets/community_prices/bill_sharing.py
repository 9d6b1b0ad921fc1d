"""Bill sharing: a community pays the grid one bill, and local energy is free."""

from __future__ import annotations

import torch

from gridbazaar.envs.markets.book import rounding
from gridbazaar.envs.markets.posted_price import at_one_price, share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS


@MARKETS.register("bill_sharing")
class BillSharing(Market):
    """Bill sharing as published: import costs by consumption, export income by generation.

    Of generation G and consumption D the community imports (D - G)+ at retail and exports (G - D)+
    at feed-in. A member pays retail (D - G)+ / D per kWh that it consumes and receives
    feed-in (G - D)+ / G per kWh that it generates. Local energy costs nothing, then: it is traded
    at a price of 0, the longer side pro rata, and the rest goes to the grid at the grid's price.
    Members with PV lose by it against feed-in, which is why the paper's sellers do better under its
    two other rules.

    The rule knows meters and no offers. Generation and consumption are what a seat would export or
    import alone: asks at or below feed-in, bids at or above retail less the charge on local
    energy. Any other order is for a price which here is never paid, and stays with its device.

    Source: Long, Wu, Zhang, Thomas, Cheng, Jenkins (2017), "Peer-to-peer energy trading in a
    community microgrid", IEEE PES General Meeting; by interval, where a bill is by month.
    """

    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "one_price"})

    def __init__(self, config: MarketConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Let everybody's surplus and need meet at no price."""
        limit, quantity = orders.limit_price, orders.quantity_kw
        floor, ceiling = context.seller_floor, context.buyer_ceiling
        exports = (quantity > 0) & (limit <= floor + rounding(floor))
        imports = (quantity < 0) & (limit >= ceiling - rounding(ceiling))
        metered_kw = quantity * ((exports | imports) & (ceiling > floor))
        return at_one_price(share_pro_rata(metered_kw), torch.zeros_like(floor), context.slot_h)
