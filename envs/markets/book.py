"""Order book as tensors: crossing of supply and demand, and filling of orders."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# A trade of less than this share of the market's largest order is what rounding left of none; in
# float32 rounding leaves more.
_TOLERANCE = 1e-9
_ROUNDINGS = 16


def rounding(value: Tensor) -> Tensor:
    """Return by how much two ways to compute a value may miss each other."""
    return value.abs() * (_ROUNDINGS * torch.finfo(value.dtype).eps)


def tolerance_kw(quantity_kw: Tensor) -> Tensor:
    """Return the power that is too little to be a trade, [B, 1] kW, for orders [B, N]."""
    largest_kw = quantity_kw.abs().amax(-1, keepdim=True)
    return torch.maximum(largest_kw * _TOLERANCE, rounding(largest_kw))


def gaining(quantity_kw: Tensor, limit_price: Tensor) -> tuple[Tensor, Tensor]:
    """Return which sellers and which buyers of a book could gain with some partner, [B, N] bool."""
    sells, buys = quantity_kw > 0, quantity_kw < 0
    best_bid = limit_price.where(buys, -torch.inf).amax(-1, keepdim=True)
    best_ask = limit_price.where(sells, torch.inf).amin(-1, keepdim=True)
    return sells & (limit_price < best_bid), buys & (limit_price > best_ask)


@dataclass(frozen=True)
class Crossing:
    """The largest volume at which every seller's limit is at or below every buyer's.

    Attributes:
        volume_kw: [B, 1].
        ask_price: [B, 1] EUR/kWh, the dearest accepted ask (meaningless where the volume is 0).
        bid_price: [B, 1] EUR/kWh, the cheapest accepted bid.
    """

    volume_kw: Tensor
    ask_price: Tensor
    bid_price: Tensor


def cross(quantity_kw: Tensor, limit_price: Tensor) -> Crossing:
    """Find the crossing of supply and demand, in one sort.

    Sums that differ by a rounding are equal, so that no order is marginal by one.

    Args:
        quantity_kw: [B, N], positive asks, negative bids.
        limit_price: [B, N] EUR/kWh, of magnitude below one million.
    """
    order = _sort_key(limit_price, quantity_kw < 0).argsort(-1)
    quantity = quantity_kw.gather(-1, order)
    asks = quantity.clamp(min=0)
    bids = asks - quantity
    supply = asks.cumsum(-1)
    demand = bids.flip(-1).cumsum(-1).flip(-1)
    volume = torch.minimum(supply, demand).amax(-1, keepdim=True)

    last = quantity.shape[-1] - 1
    reached = volume - rounding(volume)
    ask_at = (supply < reached).sum(-1, keepdim=True).clamp(max=last)
    bid_at = (demand >= reached).sum(-1, keepdim=True) - 1
    volume = torch.minimum(supply.gather(-1, ask_at), demand.gather(-1, bid_at)).minimum(volume)
    marginal = order.gather(-1, torch.cat([ask_at, bid_at], -1))
    ask_price, bid_price = limit_price.gather(-1, marginal).split_with_sizes([1, 1], -1)
    return Crossing(volume, ask_price, bid_price)


def fill(quantity_kw: Tensor, limit_price: Tensor, crossing: Crossing) -> Tensor:
    """Fill orders better than the marginal ones wholly and the marginal ones pro rata.

    Returns the cleared power [B, N] in kW with the sign of the order.
    """
    asks_kw = quantity_kw.clamp(min=0)
    sell = _fill_side(asks_kw, limit_price - crossing.ask_price, crossing)
    buy = _fill_side(asks_kw - quantity_kw, crossing.bid_price - limit_price, crossing)
    return (sell - buy).masked_fill(crossing.volume_kw <= 0, 0.0)


def _fill_side(offered_kw: Tensor, behind: Tensor, crossing: Crossing) -> Tensor:
    """Fill one side; `behind` is negative for better than marginal and 0 for marginal orders."""
    ahead_kw = offered_kw * (behind < 0)
    marginal_kw = offered_kw * (behind == 0)
    left = crossing.volume_kw - ahead_kw.sum(-1, keepdim=True)
    share = left / marginal_kw.sum(-1, keepdim=True).clamp(min=torch.finfo(left.dtype).tiny)
    return ahead_kw + marginal_kw * share.clamp(0, 1)


def _sort_key(price: Tensor, is_bid: Tensor) -> Tensor:
    """Return integers that sort by price, asks before bids at the same price, without rounding.

    The bits of an IEEE number, read as an integer, sort as the number does once the negative
    ones are mirrored. Scaling by a power of two is exact and frees the lowest bit; adding zero
    turns -0.0, which would sort below 0.0, into it.
    """
    bits = (price.double() * 2.0**-20 + 0.0).view(torch.int64)
    bits = torch.where(bits < 0, bits ^ torch.iinfo(torch.int64).max, bits)
    return bits * 2 + is_bid
