"""Conversion of order lists, as a user writes them, to the book that markets clear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args

import torch

from gridbazaar.envs.markets.owners import Owners
from gridbazaar.envs.markets.protocol import Context, Orders
from gridbazaar.errors import UnknownNameError

Side = Literal["ask", "bid"]


@dataclass(frozen=True)
class Order:
    """What a seat offers or asks for, at one price.

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
    """Return the book of B lists of orders, in the type and on the device of `context`.

    It is [B, seats] where no seat is named twice in a market; seats that are not named have no
    order. Else it has as many places for each seat as the market needs that names it most often,
    and `Orders.owners` says whose they are.

    Raises:
        ValueError: a seat is unknown, or a bid of a seat reaches an ask of its own; a quantity,
            price or arrival is no finite number, a quantity not above zero, an arrival before zero,
            a limit price not within the context's range (`Orders.check`).
        UnknownNameError: a side that is neither `ask` nor `bid`.
    """
    like = context.buyer_ceiling
    lists = [_by_seat(orders, m, seats) for m, orders in enumerate(markets)]
    most = [max([1, *[len(own[seat]) for own in lists]]) for seat in range(seats)]
    first = [sum(most[:seat]) for seat in range(seats)]
    quantity, price = (like.new_zeros(len(markets), sum(most)) for _ in range(2))
    arrival = torch.full_like(quantity, torch.inf)
    for m, own in enumerate(lists):
        for seat, orders in enumerate(own):
            for place, order in enumerate(orders, first[seat]):
                quantity[m, place] = order.quantity_kw * (1 if order.side == "ask" else -1)
                price[m, place] = order.limit_price
                arrival[m, place] = order.arrival_s
    owners = None
    if sum(most) > seats:
        owner = torch.arange(seats).repeat_interleave(torch.tensor(most))
        owners = Owners.of(owner.to(like.device), seats)
    book = Orders(quantity, price, arrival, owners)
    book.check(context)
    return book


def _by_seat(orders: Sequence[Order], market: int, seats: int) -> list[list[Order]]:
    """Return the orders of each seat of a market."""
    own: list[list[Order]] = [[] for _ in range(seats)]
    for order in orders:
        _check(order, market, seats)
        own[order.seat].append(order)
    for seat, mine in enumerate(own):
        asks = [order.limit_price for order in mine if order.side == "ask"]
        bids = [order.limit_price for order in mine if order.side == "bid"]
        if asks and bids and max(bids) >= min(asks):
            raise ValueError(
                f"orders: seat {seat} in market {market} bids {max(bids):g} and asks {min(asks):g},"
                " expected bids below its own asks; nobody trades with itself, so net the two first"
            )
    return own


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
