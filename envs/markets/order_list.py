"""Conversion of order lists, as a user writes them, to the book that markets clear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args

import torch

from gridbazaar.envs.markets.protocol import Context, Orders
from gridbazaar.errors import UnknownNameError

Side = Literal["ask", "bid"]


@dataclass(frozen=True)
class Order:
    """What one seat offers or asks for.

    Attributes:
        seat: number, from 0.
        side: `ask` to sell, `bid` to buy.
        quantity_kw: above zero.
        limit_price: EUR/kWh.
        arrival_s: seconds after the book opened.
    """

    seat: int
    side: Side
    quantity_kw: float
    limit_price: float
    arrival_s: float = 0.0


def book_of(markets: Sequence[Sequence[Order]], seats: int, context: Context) -> Orders:
    """Return the book [B, seats] of B lists of orders, in the type and on the device of `context`.

    Seats that are not named have no order.

    Raises:
        ValueError: a seat is unknown or named twice (also with a bid and an ask, which would cross
            itself); a quantity, price or arrival is no finite number, a quantity not above zero, an
            arrival before zero, a limit price not within the context's range (`Orders.check`).
        UnknownNameError: a side that is neither `ask` nor `bid`.
    """
    like = context.buyer_ceiling
    quantity, price = (like.new_zeros(len(markets), seats) for _ in range(2))
    arrival = torch.full_like(quantity, torch.inf)
    for m, orders in enumerate(markets):
        seen: dict[int, Order] = {}
        for order in orders:
            _check(order, m, seats)
            if order.seat in seen:
                raise ValueError(
                    f"orders: seat {order.seat} in market {m} has two orders "
                    f"({seen[order.seat].side} and {order.side}), expected one; add them up or "
                    "drop one"
                )
            seen[order.seat] = order
            quantity[m, order.seat] = order.quantity_kw * (1 if order.side == "ask" else -1)
            price[m, order.seat] = order.limit_price
            arrival[m, order.seat] = order.arrival_s
    book = Orders(quantity, price, arrival)
    book.check(context)
    return book


def _check(order: Order, market: int, seats: int) -> None:
    """Raise unless an order can stand by itself."""
    numbered = isinstance(order.seat, Integral) and not isinstance(order.seat, bool)
    if not (numbered and 0 <= order.seat < seats):
        raise ValueError(
            f"orders: seat {order.seat!r} in market {market} is unknown, expected a whole number "
            f"from 0 to {seats - 1}"
        )
    if order.side not in get_args(Side):
        raise UnknownNameError("side", order.side, get_args(Side))
    where = f"of seat {order.seat} in market {market}"
    for field in ("quantity_kw", "limit_price", "arrival_s"):
        value = getattr(order, field)
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not (number and math.isfinite(value)):
            raise ValueError(f"orders: {field} {where} is {value!r}, expected a finite number")
    if order.quantity_kw <= 0:
        raise ValueError(
            f"orders: quantity_kw {where} is {order.quantity_kw:g}, expected more than 0; "
            "the side says whether it is sold or bought"
        )
