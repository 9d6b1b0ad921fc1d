"""Suggested prices of the contract, equations (5) and (6)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

Number = float | Tensor  # of all replications, or [R, 1]


class Weights(NamedTuple):
    """Weights of (5) and (6): AUD/kWh per kWh, and for `mu` and `nu` roots of AUD/kWh."""

    lambda_: Number
    mu: Number
    beta: Number
    nu: Number
    opening: Number  # AUD/kWh: the price before the day's first


def weights(level: Number, surplus_kwh: Number, need_kwh: Number) -> Weights:
    """Return weights for which both prices rest at a level, half of it by recent prices.

    The paper prints none. With the mean surplus, the mean need and recent prices of `level`, (5)
    gives level/2 + level/2 and (6) 3 level/2 - level/2.

    Args:
        level: AUD/kWh.
        surplus_kwh: typical value of the sum in (5).
        need_kwh: typical value of the sum in (6).
    """
    half, root = level / 2, level**0.5 / 2
    return Weights(half / surplus_kwh, root, 3 * half / need_kwh, root, level)


def selling(surplus_kwh: Tensor, recent: Tensor, weight: Weights) -> Tensor:
    """Return p^S of (5): lambda * surplus + mu * sqrt(recent selling prices)."""
    return weight.lambda_ * surplus_kwh + weight.mu * recent.sqrt()


def buying(need_kwh: Tensor, recent: Tensor, weight: Weights) -> Tensor:
    """Return p^B of (6): beta * need - nu * sqrt(recent buying prices)."""
    return weight.beta * need_kwh - weight.nu * recent.sqrt()


class History:
    """Prices of one kind that were traded, by user: sum and number, one opening price before them.

    Args:
        opening: AUD/kWh, as if the day before had ended at it.
        like: [R, N], for shape and device.
        scope: "user" for each one's own trades, "market" for all.
        rule: "mean" of the prices, or their "sum" in units of a day's number of prices.
        a_day: prices that a user, or the market, trades in a day of requests by the hour.
    """

    def __init__(self, opening: Number, like: Tensor, scope: str, rule: str, a_day: float):
        self._scope, self._rule, self._a_day, self._opening = scope, rule, a_day, opening
        self._sum, self._count = like.new_zeros(like.shape), like.new_zeros(like.shape)

    def add(self, price: Tensor, traded: Tensor) -> None:
        """Add prices [R, N] where `traded` (bool [R, N])."""
        self._sum += price * traded
        self._count += traded

    def recent(self) -> Tensor:
        """Return what stands under the root, [R, N], AUD/kWh."""
        total, count = self._sum, self._count
        if self._scope == "market":
            total = total.sum(-1, keepdim=True).expand_as(total)
            count = count.sum(-1, keepdim=True).expand_as(count)
        if self._rule == "sum":
            return self._opening + total / self._a_day
        return (self._opening + total) / (1 + count)
