"""Double auction by trade reduction: the orders that set the price do not trade at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.envs.markets.book import Crossing, cross, rounding
from gridbazaar.envs.markets.posted_price import sides
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import mean_price


class McAfeeConfig(MarketConfig):
    """What becomes of orders that tie at the margin."""

    ties: Literal["priced_by_others", "left_out"] = Field(
        description="priced_by_others: of orders at a marginal price those trade whose price the "
        "others set without them; left_out: none",
    )


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

    Of several orders that tie at a marginal price, one trades at it where, had it come before all
    others, it would not yet have filled the crossing: then the others set that price, whatever it
    asks. It is served after those within the margin, and gains nothing, as the price is its limit.
    Where one side has more at its marginal price than the crossing takes, the next order outside
    is at that price too; where p equals it, the other side trades at p and this one shares what
    is left. So a book of bidders who all name the grid's prices trades at that of the longer side.

    Source: McAfee (1992), "A dominant strategy double auction", Journal of Economic Theory 56(2),
    for orders of one unit; for divisible orders the reduction is that of Huang, Scheller-Wolf and
    Sycara (2002), "Design of a multi-unit double auction e-market", Computational Intelligence
    18(4), with the long side rationed pro rata where they cut equal amounts. A marginal order that
    fills in part would gain from a better rank, hence the average price needs a crossing without
    remainder. The papers' ties have no place in their proofs; the rule for them is the project's
    own, which brute force finds truthful. Truthful in price alone: a seat may gain by a wrong
    quantity, overstated to raise its share of a rationed side, or understated so that an order less
    favourable than its own becomes the marginal one that is left out.

    A participant of either paper has one price. Of a seat with several orders each is an order like
    any other; as one of them may be marginal and set the price of the others, the claim to be
    truthful is of seats with one order alone.
    """

    Config = McAfeeConfig
    claims: frozenset[Claim] = frozenset({"no_deficit", "individually_rational", "truthful"})
    single_order_claims: frozenset[Claim] = frozenset({"truthful"})
    contract = "auction"

    def __init__(self, config: McAfeeConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade at the average price, or leave out orders that would set their own."""
        quantity, limit = orders.quantity_kw, orders.limit_price
        crossing = cross(quantity, limit)
        sells, traded = quantity > 0, crossing.volume_kw > 0
        # Negative inside the crossing, 0 at the margin.
        behind = torch.where(sells, limit - crossing.ask_price, crossing.bid_price - limit)
        margin = _margin_of(orders, behind, crossing, self.config.ties == "priced_by_others")
        next_ask, next_bid = _outside(orders, behind, margin, context)
        average = (next_ask + next_bid) / 2
        slack = rounding(average)
        own_side = _own_side(crossing, sells)
        # Whoever is rationed at the margin must have nothing to gain there.
        unmoved = ~margin.excess | ((average - own_side).abs() <= slack)
        at_average = (
            (_used_up(quantity * (behind <= 0)) | unmoved.all(-1, keepdim=True) & margin.shared)
            & (next_bid <= next_ask + slack)
            & (crossing.ask_price <= average + slack)
            & (average - slack <= crossing.bid_price)
        )
        first = traded & ((behind < 0) | (behind == 0) & at_average & ~margin.excess)
        last = traded & ~first & margin.priced_by_others
        cleared_kw = _fill(quantity * first, quantity * last)
        price = torch.where(at_average, average, own_side) * (cleared_kw != 0)
        return Clearing(
            cleared_kw=cleared_kw,
            price=price,
            payment_eur=cleared_kw * price * context.slot_h,
            reference_price=mean_price(cleared_kw, price),
            converged=torch.ones_like(traded).squeeze(-1),
        )


@dataclass(frozen=True)
class _Margin:
    """Orders at the marginal prices, [B, M] bool each.

    Attributes:
        priced_by_others: those that would not fill the crossing if they came before all others.
        excess: orders on a side that has more at its margin than the crossing takes.
        shared: [B, 1] whether such orders may trade at all.
    """

    priced_by_others: Tensor
    excess: Tensor
    shared: Tensor


def _margin_of(orders: Orders, behind: Tensor, crossing: Crossing, shared: bool) -> _Margin:
    """Find what ties at the margin; a seat's orders there are one."""
    quantity, volume = orders.quantity_kw, crossing.volume_kw
    sells = quantity > 0
    size, at = quantity.abs(), (behind == 0) & (quantity != 0)
    both = torch.full_like(volume, shared, dtype=torch.bool)
    nothing = torch.zeros_like(at)
    if not shared:
        return _Margin(nothing, nothing, both)
    inside = _side_sum(size * (behind < 0), sells)
    level = _side_sum(size * at, sells)
    own = size * at
    if orders.shared is not None:
        own = orders.shared.of_seat(orders.shared.total(own))
    least = volume - rounding(volume)
    excess = inside + level > volume + rounding(volume)
    return _Margin(at & (inside + own < least), excess & (quantity != 0), both)


def _side_sum(kw: Tensor, sells: Tensor) -> Tensor:
    """Return to every order the sum [B, M] of kw over its side."""
    sold, bought = ((kw * side).sum(-1, keepdim=True) for side in (sells, ~sells))
    return torch.where(sells, sold, bought)


def _fill(first_kw: Tensor, last_kw: Tensor) -> Tensor:
    """Match what is left to trade, the first orders before the last ones, pro rata among each."""
    volume_kw = torch.minimum(*sides(first_kw + last_kw))
    sells, tiny = first_kw + last_kw > 0, torch.finfo(first_kw.dtype).tiny
    before, after = (_side_sum(kw.abs(), sells) for kw in (first_kw, last_kw))
    of_first = (volume_kw / before.clamp(min=tiny)).clamp(max=1)
    of_last = ((volume_kw - before) / after.clamp(min=tiny)).clamp(0, 1)
    return first_kw * of_first + last_kw * of_last


def _outside(
    orders: Orders, behind: Tensor, margin: _Margin, context: Context
) -> tuple[Tensor, Tensor]:
    """Return the cheapest ask and the highest bid outside the crossing, the grid's among them.

    [B, 1] each. Where a bid beyond the grid's price is left outside they cross, and say nothing of
    a price between the two sides.
    """
    outside = (behind > 0) | (behind == 0) & margin.excess
    sells, buys = orders.quantity_kw > 0, orders.quantity_kw < 0
    ask = torch.where(outside & sells, orders.limit_price, torch.inf).amin(-1, keepdim=True)
    bid = torch.where(outside & buys, orders.limit_price, -torch.inf).amax(-1, keepdim=True)
    return torch.minimum(ask, context.buyer_ceiling), torch.maximum(bid, context.seller_floor)


def _used_up(accepted_kw: Tensor) -> Tensor:
    """Return whether accepted supply equals accepted demand up to rounding, [B, 1] bool."""
    rest = accepted_kw.sum(-1, keepdim=True).abs()
    rounding = accepted_kw.shape[-1] * torch.finfo(accepted_kw.dtype).eps
    return rest <= rounding * accepted_kw.abs().sum(-1, keepdim=True)


def _own_side(crossing: Crossing, sells: Tensor) -> Tensor:
    """Return the marginal ask for sellers and the marginal bid for buyers, [B, N]."""
    return torch.where(sells, crossing.ask_price, crossing.bid_price)
