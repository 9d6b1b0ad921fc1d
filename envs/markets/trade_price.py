"""From money to prices: what a seat paid per kWh, and what a market with many prices publishes."""

from __future__ import annotations

import torch
from torch import Tensor


def seat_price(money_per_h: Tensor, cleared_kw: Tensor, limit_price: Tensor) -> Tensor:
    """Return the mean price of each seat's trades, [B, N] EUR/kWh; 0 where it did not trade.

    The quotient of two sums may miss the limit by a rounding; it is held to it, so that no seat
    sells below or buys above what it asked.

    Args:
        money_per_h: [B, N] EUR/h, positive received, negative paid.
        cleared_kw: [B, N], positive sold, negative bought.
        limit_price: [B, N] EUR/kWh.
    """
    traded = cleared_kw != 0
    price = money_per_h / torch.where(traded, cleared_kw, 1.0)
    side = cleared_kw.sign()
    return torch.maximum(price * side, limit_price * side) * side


def mean_price(cleared_kw: Tensor, price: Tensor) -> Tensor:
    """Return the mean of sellers' and buyers' prices by volume, [B]; NaN where nothing traded."""
    volume = cleared_kw.abs()
    total = volume.sum(-1)
    return torch.where(total > 0, (volume * price).sum(-1) / total, torch.nan)
