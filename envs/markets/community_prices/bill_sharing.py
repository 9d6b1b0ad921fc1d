"""Bill sharing: the community's bill, split by consumption."""

from __future__ import annotations

import torch

from gridbazaar.envs.markets.posted_price import accepting_kw, share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import mean_price


@MARKETS.register("bill_sharing")
class BillSharing(Market):
    """Bill sharing: sellers get what they ask, buyers split the community's bill per kWh.

    In the paper the community pays one bill, to the grid, and its members share import costs by
    their consumption and export income by their generation: local energy costs nothing, and a
    seller is worse off than alone. Here a seller is paid its limit, and never less than feed-in;
    what the community pays its sellers joins the bill. A buyer's share of it, per kWh of its
    demand D, is (p V + p_retail (D - V)) / D, with the volume V at the sellers' mean p and the
    rest from the grid. With limits and feed-in of 0 this is the paper's formula.

    Sellers dearer than the grid are left out, and so are buyers whose limit lies below p; the
    longer side shares pro rata.

    Source: Long, Wu, Zhang, Thomas, Cheng, Jenkins (2017), "Peer-to-peer energy trading in a
    community microgrid", IEEE PES General Meeting.
    """

    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})

    def __init__(self, config: MarketConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Pay the sellers and split the bill."""
        sells = orders.quantity_kw > 0
        ask = torch.maximum(orders.limit_price, context.seller_floor)
        offered_kw = orders.quantity_kw * (sells & (ask <= context.buyer_ceiling))
        supply_kw = offered_kw.sum(-1, keepdim=True)
        tiny = torch.finfo(ask.dtype).tiny
        mean = (offered_kw * ask).sum(-1, keepdim=True) / supply_kw.clamp(min=tiny)
        # A mean may round above the dearest of equal asks, and lose the buyers at that price.
        dearest = torch.where(offered_kw > 0, ask, context.seller_floor).amax(-1, keepdim=True)
        mean = torch.minimum(mean, dearest)
        wanted_kw = accepting_kw(orders, mean).clamp(max=0)
        cleared_kw = share_pro_rata(offered_kw + wanted_kw)
        price = torch.where(sells, ask, mean) * (cleared_kw != 0)
        published = mean_price(cleared_kw, price)
        return Clearing(
            cleared_kw=cleared_kw,
            price=price,
            payment_eur=cleared_kw * price * context.slot_h,
            reference_price=published,
            converged=torch.ones_like(published, dtype=torch.bool),
        )
