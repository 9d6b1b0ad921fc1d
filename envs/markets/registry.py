"""Mechanisms by name, and the check of what each is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from gridbazaar.envs.markets.protocol import PRICE_BOUND, Clearing, Context, Orders
from gridbazaar.registry import Registry


class MarketRegistry(Registry[type[Any]]):
    """Mechanisms by name; each refuses orders and prices that cannot stand."""

    def register(self, name: str) -> Callable[[type[Any]], type[Any]]:
        """Enter a class under a name; its `clear` checks what it is given before anything else."""
        enter = super().register(name)

        def decorate(kind: type[Any]) -> type[Any]:
            kind.clear = _checked(kind.clear)
            return enter(kind)

        return decorate


def _checked(clear: Callable[[Any, Orders, Context], Clearing]) -> Callable[..., Clearing]:
    @wraps(clear)
    def check_and_clear(market: Any, orders: Orders, context: Context) -> Clearing:
        if context.price_margin is not None:
            orders.check(context)
        elif not _sound(orders, context):
            orders.check()
            context.check(*orders.quantity_kw.shape)
        return clear(market, orders, context)

    return check_and_clear


def _sound(orders: Orders, context: Context) -> bool:
    """Return whether nothing is wrong for certain, in a few reductions: the checks take longer."""
    quantity, price, grid = orders.quantity_kw, orders.limit_price, context.grid
    shape, dtype = quantity.shape, quantity.dtype
    if not (
        len(shape) == 2
        and quantity.numel()
        and price.shape == orders.arrival_s.shape == shape
        and price.dtype == dtype
        and dtype.is_floating_point
        and context.buyer_ceiling.shape == context.seller_floor.shape == (shape[0], 1)
    ):
        return False
    # A sum is a number only if every term is.
    total = quantity.sum() + context.buyer_ceiling.sum() + context.seller_floor.sum()
    if grid is not None:
        if grid.distance.shape != (shape[1], shape[1]) or grid.green.shape != shape[1:]:
            return False
        total = total + grid.distance.sum()
    lowest, highest = price.aminmax()
    first, last = orders.arrival_s.where(quantity != 0, 0.0).aminmax()
    inside = (lowest >= -PRICE_BOUND) & (highest <= PRICE_BOUND)
    return bool(total.isfinite() & inside & (first >= 0) & last.isfinite())


MARKETS = MarketRegistry("market")
