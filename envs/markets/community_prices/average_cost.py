"""Average cost: sellers get what they ask, buyers pay the mean of it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gridbazaar.envs.markets.owners import Owners
from gridbazaar.envs.markets.posted_price import accepting_kw, share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import mean_price


@MARKETS.register("average_cost")
class AverageCost(Market):
    """Average-cost pool: sellers get what they ask, buyers pay the mean of it.

    A seller is paid its limit, and never less than feed-in. What the community pays its sellers
    and the grid is one bill, which buyers split per kWh of their demand D: (p V + p_retail
    (D - V)) / D, with the volume V at the sellers' mean p and the rest from the grid. So the gains
    go to the buyers; with limits and feed-in of 0 it is bill sharing (`bill_sharing`).

    Sellers dearer than the grid are left out, and so are buyers whose limit lies below p; the
    longer side shares pro rata. A seat with orders on both sides that could sell and buy at once
    is billed for its net: it is on the side on which it offers more, its orders less in proportion.

    Source: average-cost pricing as in a cooperative, for example Moulin (1996), "Cost sharing under
    increasing returns: a comparison of simple mechanisms", Games and Economic Behavior 13(2); pay
    as asked on the sellers' side is the project's own choice.
    """

    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})

    def __init__(self, config: MarketConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Pay the sellers what they ask and split the cost."""
        sells = orders.quantity_kw > 0
        ask = torch.maximum(orders.limit_price, context.seller_floor)
        quantity_kw = orders.quantity_kw
        if orders.shared is not None:
            bids = ~sells & (orders.limit_price >= context.seller_floor)
            quantity_kw = net_by_seat(
                quantity_kw * (bids | sells & (ask <= context.buyer_ceiling)), orders.shared
            )
        offered_kw = quantity_kw * (sells & (ask <= context.buyer_ceiling))
        supply_kw = offered_kw.sum(-1, keepdim=True)
        tiny = torch.finfo(ask.dtype).tiny
        mean = (offered_kw * ask).sum(-1, keepdim=True) / supply_kw.clamp(min=tiny)
        # A mean may round above the dearest of equal asks, and lose the buyers at that price.
        dearest = torch.where(offered_kw > 0, ask, context.seller_floor).amax(-1, keepdim=True)
        mean = torch.minimum(mean, dearest)
        wanted_kw = accepting_kw(replace(orders, quantity_kw=quantity_kw), mean).clamp(max=0)
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


def net_by_seat(quantity_kw: Tensor, owners: Owners) -> Tensor:
    """Take from a seat's orders [B, M] on either side what it has on the other, pro rata."""
    offered, wanted = (owners.total((quantity_kw * side).clamp(min=0)) for side in (1, -1))
    own_kw = torch.minimum(offered, wanted)
    tiny = torch.finfo(quantity_kw.dtype).tiny
    sold, bought = (owners.of_seat(1 - own_kw / side.clamp(min=tiny)) for side in (offered, wanted))
    return quantity_kw * torch.where(quantity_kw > 0, sold, bought)
