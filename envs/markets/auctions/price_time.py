"""Continuous matching by price-time priority: orders arrive one by one and meet the book."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets.book import rounding, tolerance_kw
from gridbazaar.envs.markets.protocol import Orders


@dataclass(frozen=True)
class Fills:
    """What the orders traded on arrival and while they waited.

    Attributes:
        cleared_kw: [B, N], positive sold, negative bought.
        money_per_h: [B, N] EUR/h, positive received, negative paid.
        arrivals: [B] orders of each book.
    """

    cleared_kw: Tensor
    money_per_h: Tensor
    arrivals: Tensor


@dataclass(frozen=True)
class _Queue:
    """Orders in sequence of arrival, and their places in a book sorted by goodness of price.

    Attributes:
        seat: [B, N] who sent the order.
        head: [B, N] first of the orders that came at once, on one side and at one price.
        quantity_kw: [B, N] signed; the head holds its companions' power, they hold none.
        share: [B, N] of the head's power that an order is.
        place: [B, N] in the book.
        reach: [B, N] last place in the book whose price an order accepts; -1 for none.
        book_price: [B, N] EUR/kWh by place.
    """

    seat: Tensor
    head: Tensor
    quantity_kw: Tensor
    share: Tensor
    place: Tensor
    reach: Tensor
    book_price: Tensor


def trade_on_arrival(orders: Orders) -> Fills:
    """Let every order, as it arrives, take the best waiting ones it accepts; the rest waits.

    A trade is at the price of the order that waited. The best price is served first, and the
    earlier at one price. Orders that arrive at the same instant are taken asks before bids, the
    better price first; equal ones share pro rata, so that no seat's number decides.

    Source: Friedman (1993), "The double auction market institution: a survey", in Friedman and
    Rust (eds.), The Double Auction Market.
    """
    queue = _queue(orders)
    quantity = queue.quantity_kw
    arrivals = (orders.quantity_kw != 0).sum(-1)
    longest = int(arrivals.max()) if len(arrivals) else 0
    waiting = torch.zeros_like(quantity)
    taken, cost = torch.zeros_like(quantity), torch.zeros_like(quantity)
    side, size = quantity.sign(), quantity.abs()
    least = tolerance_kw(orders.quantity_kw)
    reachable, reach = queue.reach >= 0, queue.reach.clamp(min=0)
    for t in range(longest):
        one = slice(t, t + 1)
        own = side[:, one]
        offered = (waiting * -own).clamp(min=0)
        end = offered.cumsum(-1)
        filled = torch.minimum(size[:, one], end.gather(-1, reach[:, one]) * reachable[:, one])
        take = torch.minimum(filled - end + offered, offered)
        take = take.where(take > least, 0.0)
        taken[:, one] = filled = take.sum(-1, keepdim=True)
        cost[:, one] = (take * queue.book_price).sum(-1, keepdim=True)
        waiting = waiting + take * own
        waiting.scatter_(-1, queue.place[:, one], (size[:, one] - filled) * own)

    limit = queue.book_price.gather(-1, queue.place)
    cleared = quantity - waiting.gather(-1, queue.place)
    on_arrival = taken * side
    money = cost * side + (cleared - on_arrival) * limit
    to_seat = torch.zeros_like(quantity)
    return Fills(
        cleared_kw=to_seat.scatter(-1, queue.seat, cleared.gather(-1, queue.head) * queue.share),
        money_per_h=to_seat.scatter(-1, queue.seat, money.gather(-1, queue.head) * queue.share),
        arrivals=arrivals,
    )


def _queue(orders: Orders) -> _Queue:
    """Sort the orders by arrival, equal ones merged, and say where each stands in the book."""
    quantity, limit = orders.quantity_kw.contiguous(), orders.limit_price.contiguous()
    side = quantity.sign()
    # Lower is better for the other side: an ask's price, a bid's negative price.
    rank = limit * side
    arrival = torch.where(side != 0, orders.arrival_s.contiguous(), torch.inf)
    seat = rank.argsort(dim=-1, stable=True)
    for key in (-side, arrival):
        seat = seat.gather(-1, key.gather(-1, seat).argsort(dim=-1, stable=True))
    quantity, side, rank, arrival = (x.gather(-1, seat) for x in (quantity, side, rank, arrival))

    fresh = torch.ones_like(side, dtype=torch.bool)
    fresh[:, 1:] = (
        (side[:, 1:] != side[:, :-1])
        | (rank[:, 1:] != rank[:, :-1])
        | (arrival[:, 1:] != arrival[:, :-1])
    )
    number = torch.arange(quantity.shape[-1], device=quantity.device)
    head = torch.where(fresh, number, 0).cummax(-1).values
    merged = torch.zeros_like(quantity).scatter_add(-1, head, quantity)
    of_head = merged.gather(-1, head)
    share = quantity / torch.where(of_head != 0, of_head, 1.0)

    sorted_rank, by_rank = rank.sort(dim=-1, stable=True)
    reach = torch.searchsorted(sorted_rank, rounding(rank) - rank, right=True) - 1
    price = limit.gather(-1, seat).gather(-1, by_rank)
    return _Queue(seat, head, merged, share, by_rank.argsort(-1), reach, price)
