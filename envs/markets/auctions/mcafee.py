"""Double auction by trade reduction: the orders that set the price do not trade at it."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.markets.book import Crossing, cross, rounding
from gridbazaar.envs.markets.posted_price import share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import mean_price


@MARKETS.register("mcafee")
class McAfee(Market):
    """Trade reduction with McAfee's average price; truthful, and the operator keeps the spread.

    The efficient crossing ends at the marginal ask s_k and the marginal bid b_k; s_{k+1} and
    b_{k+1} are the next ones outside it. Where the crossing uses its orders up to the last kWh and
    p = (s_{k+1} + b_{k+1}) / 2 lies within [s_k, b_k], all of them trade at p. Otherwise all orders
    at the marginal prices are left out, the remaining sellers receive s_k, the remaining buyers
    pay b_k, and the longer side shares pro rata.

    The grid stands among the next orders, a seller at `buyer_ceiling` and a buyer at
    `seller_floor`, as the ends of the price range do in the paper.

    Source: McAfee (1992), "A dominant strategy double auction", Journal of Economic Theory 56(2),
    for orders of one unit; for divisible orders the reduction is that of Huang, Scheller-Wolf and
    Sycara (2002), "Design of a multi-unit double auction e-market", Computational Intelligence
    18(4), with the long side rationed pro rata where they cut equal amounts. A marginal order that
    fills in part would gain from a better rank, hence the average price needs a crossing without
    remainder. Truthful in price alone: a seat may gain by a wrong quantity, overstated to raise its
    share of a rationed side, or understated so that an order less favourable than its own becomes
    the marginal one that is left out.

    A participant of either paper has one price. Of a seat with several orders each is an order like
    any other; as one of them may be marginal and set the price of the others, the claim to be
    truthful is of seats with one order alone.
    """

    claims: frozenset[Claim] = frozenset({"no_deficit", "individually_rational", "truthful"})
    single_order_claims: frozenset[Claim] = frozenset({"truthful"})
    contract = "auction"

    def __init__(self, config: MarketConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade at the average price, or leave the marginal orders out."""
        quantity, limit = orders.quantity_kw, orders.limit_price
        crossing = cross(quantity, limit)
        sells, traded = quantity > 0, crossing.volume_kw > 0
        # Negative inside the crossing, 0 at the margin.
        behind = torch.where(sells, limit - crossing.ask_price, crossing.bid_price - limit)
        average = _average_price(orders, behind, context)
        slack = rounding(average)
        at_average = (
            _used_up(quantity * (behind <= 0))
            & (crossing.ask_price <= average + slack)
            & (average - slack <= crossing.bid_price)
        )
        trades = traded & torch.where(at_average, behind <= 0, behind < 0)
        cleared_kw = share_pro_rata(quantity * trades)
        price = torch.where(at_average, average, _own_side(crossing, sells)) * (cleared_kw != 0)
        return Clearing(
            cleared_kw=cleared_kw,
            price=price,
            payment_eur=cleared_kw * price * context.slot_h,
            reference_price=mean_price(cleared_kw, price),
            converged=torch.ones_like(traded).squeeze(-1),
        )


def _average_price(orders: Orders, behind: Tensor, context: Context) -> Tensor:
    """Return the mean of the cheapest ask and the highest bid outside the crossing, [B, 1]."""
    outside = behind > 0
    sells, buys = orders.quantity_kw > 0, orders.quantity_kw < 0
    ask = torch.where(outside & sells, orders.limit_price, torch.inf).amin(-1, keepdim=True)
    bid = torch.where(outside & buys, orders.limit_price, -torch.inf).amax(-1, keepdim=True)
    return (
        torch.minimum(ask, context.buyer_ceiling) + torch.maximum(bid, context.seller_floor)
    ) / 2


def _used_up(accepted_kw: Tensor) -> Tensor:
    """Return whether accepted supply equals accepted demand up to rounding, [B, 1] bool."""
    rest = accepted_kw.sum(-1, keepdim=True).abs()
    rounding = accepted_kw.shape[-1] * torch.finfo(accepted_kw.dtype).eps
    return rest <= rounding * accepted_kw.abs().sum(-1, keepdim=True)


def _own_side(crossing: Crossing, sells: Tensor) -> Tensor:
    """Return the marginal ask for sellers and the marginal bid for buyers, [B, N]."""
    return torch.where(sells, crossing.ask_price, crossing.bid_price)
