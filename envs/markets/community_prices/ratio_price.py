"""Price by the ratio of supply to demand, and the orders that agree with it."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.markets.protocol import Orders


def ratio_price(supply_kw: Tensor, demand_kw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Price of a local kWh by Liu et al. (2017): between `high` and `low`, EUR/kWh.

    With r = supply / demand: low * high / ((high - low) r + low) up to r = 1, `low` beyond.
    The formula needs positive prices: where `low` is none, a millionth of `high` stands in for it
    up to r = 1. No orders at all count as r = 0.
    """
    tiny = torch.finfo(supply_kw.dtype).tiny
    ratio = (supply_kw / demand_kw.clamp(min=tiny)).clamp(max=1)
    base = torch.maximum(low, high * 1e-6).clamp(min=0)
    price = base * high / ((high - base) * ratio + base).clamp(min=tiny)
    price = torch.where(supply_kw > demand_kw, low, price)
    return torch.minimum(torch.maximum(price, torch.minimum(low, high)), torch.maximum(low, high))


def consistent_price(orders: Orders, low: Tensor, high: Tensor) -> Tensor:
    """Return the ratio price of exactly those orders that accept it, [B, 1] EUR/kWh.

    A higher price brings in asks and drops bids, which raises the ratio and lowers the formula's
    price: the two meet once. Where they meet at an order's limit, that limit is the price: with
    the order the formula lies below it, without it above.

    Args:
        orders: the book, [B, N].
        low: [B, 1] price at a ratio of one and beyond.
        high: [B, 1] price at a ratio of zero.
    """
    limit, order = orders.limit_price.sort(-1)
    quantity_kw = orders.quantity_kw.gather(-1, order)
    asks, bids = quantity_kw.clamp(min=0), quantity_kw.clamp(max=0).neg()
    # Entry k: the price lies between the k-th and the next limit.
    none = torch.zeros_like(low)
    supply_kw = torch.cat([none, asks.cumsum(-1)], -1)
    demand_kw = torch.cat([bids.flip(-1).cumsum(-1).flip(-1), none], -1)
    by_formula = ratio_price(supply_kw, demand_kw, low, high)
    next_limit = torch.cat([limit, torch.full_like(low, torch.inf)], -1)
    return torch.minimum(by_formula, next_limit).amax(-1, keepdim=True)
