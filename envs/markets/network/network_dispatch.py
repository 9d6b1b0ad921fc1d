"""Trades of largest surplus under linear limits of a network, and their prices, in batch.

maximise  -sum_n limit_n x_n - r/2 sum_n x_n^2 / |quantity_n|
            [- linear x - x curvature x / 2, what losses cost]
subject to  sum_n x_n = 0,  rows x <= room,  0 <= x_n / quantity_n <= 1

The quadratic term makes the trades unique, ties pro rata; it is small, so that the welfare is that
of the linear programme. The price at a seat is the multiplier of the balance less what the rows it
presses on cost and less what a kW more there costs in losses: a seat gains by exactly the trade it
gets. The normal equations have one unknown per row and one more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gridbazaar.envs.markets.interior_point import Iterate, solve
from gridbazaar.envs.markets.network.marginal_losses import LossModel
from gridbazaar.envs.markets.posted_price import share_pro_rata

_NOTHING = 1e-7  # of an order: what an interior point leaves of zero and of all


@dataclass(frozen=True)
class Dispatch:
    """Trades [B, N] kW, the price at each seat [B, N] EUR/kWh, whether it was found, steps [B].

    `energy` and `loss`, [B, N] EUR/kWh, are parts of the price: what energy is worth in the whole
    market, and what a kW more at the seat costs in losses; price = energy - congestion - loss.
    """

    cleared_kw: Tensor
    price: Tensor
    energy: Tensor
    loss: Tensor
    found: Tensor
    iterations: Tensor


def dispatch(
    quantity_kw: Tensor,
    limit_price: Tensor,
    rows: Tensor,
    room: Tensor,
    regularisation: float,
    tolerance: float,
    max_steps: int,
    losses: LossModel | None = None,
) -> Dispatch:
    """Find the best trades.

    Args:
        quantity_kw, limit_price: [B, N] orders, float64.
        rows: [B, K, N] effect of a kW sold on each limit; a row of zeros is none.
        room: [B, K] what the trades may use of each; below zero they must relieve it.
        regularisation: r over the spread of the limit prices.
        tolerance: of gap and residuals, scaled to the order book.
        max_steps: of the interior-point method.
        losses: what they cost; None for nothing.
    """
    real = quantity_kw != 0
    low = limit_price.where(real, torch.inf).amin(-1, keepdim=True)
    high = limit_price.where(real, -torch.inf).amax(-1, keepdim=True)
    middle, spread = (low + high) / 2, (high - low).clamp(min=torch.finfo(low.dtype).tiny)
    largest = quantity_kw.abs().amax(-1, keepdim=True)
    norm = rows.abs().amax(-1)
    is_row = norm > 0
    norm = torch.where(is_row, norm, 1.0)
    per_norm = rows / norm.unsqueeze(-1)
    side = quantity_kw.sign()
    size = torch.where(real, quantity_kw.abs() / largest, 1.0)
    gain = torch.where(real, -side * (limit_price - middle) / spread, -1.0)
    bend = None
    if losses is not None:
        gain = gain - torch.where(real, side * losses.linear / spread, 0.0)
        sides = side.unsqueeze(-1) * side.unsqueeze(-2)
        bend = losses.curvature * sides * (largest / spread).unsqueeze(-1)
    programme = _NetworkDispatch(
        size=size,
        gain=gain,
        side=side,
        curve=regularisation / size,
        rows=per_norm * side.unsqueeze(-2),
        room=torch.where(is_row, room / (norm * largest), 1.0),
        is_row=is_row,
        tolerance=tolerance,
        bend=bend,
    )
    at, found, steps = solve(programme, programme.start(), max_steps)
    y, _, _ = programme.parts(at.slack)
    _, _, mu = programme.parts(at.multiplier)
    fill = torch.where(y < _NOTHING * size, 0.0, y)
    fill = torch.where(fill > (1 - _NOTHING) * size, size, fill) * largest
    rent = (mu.unsqueeze(-2) @ per_norm).squeeze(-2)
    price = (-at.dual - rent) * spread + middle
    cleared_kw = share_pro_rata(fill * side)
    loss = torch.zeros_like(price)
    if losses is not None:
        loss = losses.slope(cleared_kw)
        price = price - loss
    energy = (middle - at.dual * spread).expand_as(price)
    return Dispatch(cleared_kw, price, energy, loss, found, steps.clamp(min=1))


@dataclass(frozen=True)
class _NetworkDispatch:
    """The programme, scaled: gains within 1 of zero, orders up to 1, rows' largest entries 1.

    Slacks are the fills y, their rests and the rows' rests; the balance's multiplier is free.

    Attributes:
        size, gain, side, curve: [B, N].
        rows: [B, K, N] act on fills y >= 0.
        room, is_row: [B, K]; a row that is none stays where it is and counts for nothing.
        bend: [B, N, N] curvature between fills; None for none.
    """

    size: Tensor
    gain: Tensor
    side: Tensor
    curve: Tensor
    rows: Tensor
    room: Tensor
    is_row: Tensor
    tolerance: float
    bend: Tensor | None = None
    one_length: ClassVar[bool] = True

    @property
    def counts(self) -> Tensor:
        """Which pairs are more than padding, [B, 2 N + K]."""
        seats = torch.ones_like(self.side, dtype=torch.bool)
        return torch.cat([seats, seats, self.is_row], -1)

    @property
    def volume(self) -> Tensor:
        """The size of the shorter side, [B, 1]."""
        return self._sides().amin(0)

    def _sides(self) -> Tensor:
        sides = torch.stack([self.size * (self.side > 0), self.size * (self.side < 0)])
        return sides.sum(-1, keepdim=True)

    def start(self) -> Iterate:
        """Begin with half of what both sides could balance."""
        supply, demand = self._sides()
        volume = torch.minimum(supply, demand)
        share = torch.where(self.side > 0, volume / supply, volume / demand)
        y = self.size * torch.where(self.side == 0, 0.5, 0.5 * share.nan_to_num(posinf=0.0))
        w = (self.room - times(self.rows, y)).clamp(min=0.1).where(self.is_row, 1.0)
        slack = torch.cat([y, self.size - y, w], -1)
        return Iterate(slack, torch.ones_like(slack), y[:, :0], torch.zeros_like(volume))

    def parts(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is of fills [B, N], of their rests [B, N] and of rows [B, K]."""
        N = self.side.shape[-1]
        return flat[:, :N], flat[:, N : 2 * N], flat[:, 2 * N :]

    def is_open(self, at: Iterate, gap: Tensor) -> Tensor:
        """Return where gap or residuals are not small yet, [B, 1]."""
        missing = torch.cat(self._residuals(at), -1).abs().amax(-1, keepdim=True)
        return ~((gap <= self.tolerance * self.volume) & (missing <= self.tolerance))

    def _residuals(self, at: Iterate) -> tuple[Tensor, Tensor]:
        """Return what is missing of stationarity [B, N] and of the rows [B, K]."""
        (y, _, w), (z, beta, mu) = self.parts(at.slack), self.parts(at.multiplier)
        pressed = times(self.rows.transpose(-1, -2), mu)
        dual = self.curve * y - self.gain - z + beta + pressed + at.dual * self.side
        if self.bend is not None:
            dual = dual + times(self.bend, y)
        return dual, self.room - times(self.rows, y) - w

    def _inverse(self, diagonal: Tensor) -> Callable[[Tensor], Tensor]:
        """Return how to divide rows [B, K, N] by the curvature of the fills, [B, N] and `bend`."""
        if self.bend is None:
            inverse = (1 / diagonal).unsqueeze(-2)
            return lambda rows: rows * inverse
        factor, _ = torch.linalg.cholesky_ex(self.bend + torch.diag_embed(diagonal))
        return lambda rows: torch.cholesky_solve(rows.mT, factor).mT

    def newton(self, at: Iterate) -> Callable[[Tensor], Iterate]:
        """Factorise the normal equations of the rows and the balance."""
        (y, v, w), (z, beta, mu) = self.parts(at.slack), self.parts(at.multiplier)
        dual, primal = self._residuals(at)
        over = self._inverse(self.curve + z / y + beta / v)
        all_rows = torch.cat([self.rows, self.side.unsqueeze(-2)], -2)
        scaled = over(all_rows)
        nothing = torch.zeros_like(at.dual)
        slack = torch.cat([w / mu, nothing], -1)
        factor, _ = torch.linalg.cholesky_ex(
            scaled @ all_rows.transpose(-1, -2) + torch.diag_embed(slack)
        )

        def direction(change: Tensor) -> Iterate:
            cy, cv, cw = self.parts(change)
            right = cy / y - cv / v - dual
            aim = times(scaled, right) - torch.cat([primal - cw / mu, nothing], -1)
            solved = torch.cholesky_solve(aim.unsqueeze(-1), factor)
            left = right - (all_rows.transpose(-1, -2) @ solved).squeeze(-1)
            dy = over(left.unsqueeze(-2)).squeeze(-2)
            dmu, dbalance = solved.squeeze(-1)[:, :-1], solved.squeeze(-1)[:, -1:]
            d_slack = torch.cat([dy, -dy, (cw - w * dmu) / mu], -1)
            d_multiplier = torch.cat([(cy - z * dy) / y, (cv + beta * dy) / v, dmu], -1)
            return Iterate(d_slack, d_multiplier, at.primal, dbalance)

        return direction


def times(rows: Tensor, y: Tensor) -> Tensor:
    """Return rows [B, K, N] times y [B, N]."""
    return (rows @ y.unsqueeze(-1)).squeeze(-1)
