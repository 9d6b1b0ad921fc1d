"""Mean prices of trades: of each seat, and the one that a market publishes."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.markets.protocol import Clearing, Context, Orders


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
    mean = (volume * price).sum(-1) / torch.where(total > 0, total, 1.0)
    return torch.where(total > 0, mean, torch.nan)


def at_mean_prices(
    orders: Orders,
    context: Context,
    cleared_kw: Tensor,
    money_per_h: Tensor,
    converged: Tensor | None = None,
    **counts: Tensor,
) -> Clearing:
    """Return the clearing in which each seat pays the mean price of its trades.

    Args:
        orders, context: as given to the market.
        cleared_kw, money_per_h: [B, N], as for `seat_price`.
        converged: [B] bool; all where None.
        counts: `iterations` and `messages`, as in Clearing.
    """
    price = seat_price(money_per_h, cleared_kw, orders.limit_price)
    published = mean_price(cleared_kw, price)
    if converged is None:
        converged = torch.ones_like(published, dtype=torch.bool)
    payment_eur = cleared_kw * price * context.slot_h
    return Clearing(cleared_kw, price, payment_eur, published, converged, **counts)
