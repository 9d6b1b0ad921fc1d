"""Double auctions of seats with several orders, cleared slowly and by themselves in plain Python.

Orders are (seat, kW, limit): positive kW sells. Nothing here knows the project's own code.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from math import comb, inf

Order = tuple[int, float, float]


def largest_volume(orders: Sequence[Order]) -> tuple[float, float, float]:
    """Return the largest volume that can trade, the dearest ask and the cheapest bid of it.

    Walks along both sides, as an auctioneer would who pairs the cheapest ask with the best bid.
    """
    asks = sorted((limit, kw) for _, kw, limit in orders if kw > 0)
    bids = sorted(((limit, -kw) for _, kw, limit in orders if kw < 0), reverse=True)
    volume, ask, bid = 0.0, -inf, inf
    while asks and bids and asks[0][0] <= bids[0][0]:
        (ask, offered), (bid, wanted) = asks[0], bids[0]
        kw = min(offered, wanted)
        volume += kw
        for side, rest in ((asks, offered - kw), (bids, wanted - kw)):
            if rest > 1e-12:
                side[0] = (side[0][0], rest)
            else:
                del side[0]
    return volume, ask, bid


def fills(orders: Sequence[Order]) -> list[float]:
    """Return what trades of each order, those at the marginal price in equal parts of their kW."""
    volume, ask, bid = largest_volume(orders)
    cleared = []
    for side, margin in ((1, ask), (-1, bid)):
        own = [(kw * side, limit * side) for _, kw, limit in orders]
        better = sum(kw for kw, limit in own if kw > 0 and limit < margin * side)
        level = sum(kw for kw, limit in own if kw > 0 and limit == margin * side)
        part = (volume - better) / level if level else 0.0
        cleared.append(
            [
                0.0
                if kw <= 0 or volume == 0 or limit > margin * side
                else kw * (part if limit == margin * side else 1.0)
                for kw, limit in own
            ]
        )
    return [sold - bought for sold, bought in zip(*cleared, strict=True)]


def surplus(orders: Iterable[Order]) -> float:
    """Return the largest gain from trade of some orders, EUR/h."""
    orders = list(orders)
    return -sum(kw * limit for kw, (_, _, limit) in zip(fills(orders), orders, strict=True))


def pivots(orders: Sequence[Order], seats: int) -> list[float]:
    """Return what the surplus loses when a whole seat stays away, EUR/h."""
    whole = surplus(orders)
    return [whole - surplus(o for o in orders if o[0] != seat) for seat in range(seats)]


def shapley(orders: Sequence[Order], seats: int) -> list[float]:
    """Return the Shapley value of every seat, from the surplus of every group of them, EUR/h."""
    worth = {
        group: surplus(o for o in orders if o[0] in group)
        for size in range(seats + 1)
        for group in itertools.combinations(range(seats), size)
    }
    value = []
    for seat in range(seats):
        total = 0.0
        for group, alone in worth.items():
            if seat not in group:
                joined = worth[tuple(sorted((*group, seat)))]
                total += (joined - alone) / (seats * comb(seats - 1, len(group)))
        value.append(total)
    return value


def continuous(
    orders: Sequence[Order], arrival: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Play orders as they arrive, seats at distinct times; return kW and EUR/h of each.

    The orders of a seat come at once, asks before bids, the better price first. None of them meets
    another of the same seat.
    """

    def turn(i: int) -> tuple[float, bool, float]:
        _, kw, limit = orders[i]
        return arrival[i], kw < 0, limit if kw > 0 else -limit

    left = [abs(kw) for _, kw, _ in orders]
    cleared, money = [0.0] * len(orders), [0.0] * len(orders)
    waiting: list[int] = []
    for i in sorted((i for i, (_, kw, _) in enumerate(orders) if kw), key=turn):
        seat, kw, limit = orders[i]
        side = 1 if kw > 0 else -1
        partners = [
            j
            for j in waiting
            if orders[j][0] != seat
            and orders[j][1] * side < 0
            and orders[j][2] * side >= limit * side
        ]
        for j in sorted(partners, key=lambda j: (-side * orders[j][2], arrival[j])):
            traded = min(left[i], left[j])
            for one, sign in ((i, side), (j, -side)):
                left[one] -= traded
                cleared[one] += sign * traded
                money[one] += sign * traded * orders[j][2]
        waiting.append(i)
    return cleared, money
