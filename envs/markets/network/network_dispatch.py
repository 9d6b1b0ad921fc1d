"""The best trades under linear limits of a network, and the prices that go with them, in batch.

maximise  -sum_n limit_n x_n - r/2 sum_n x_n^2 / |quantity_n|
subject to  sum_n x_n = 0,  rows x <= room,  0 <= x_n / quantity_n <= 1

The quadratic term makes the trades unique, ties pro rata; it is small, so that the welfare is that
of the linear programme. The price at a seat is the multiplier of the balance less what the rows it
presses on cost: a seat gains by exactly the trade it gets. Mehrotra's predictor and corrector
(SIAM J. Optimization 2(4), 1992); the normal equations have one unknown per row and one more.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gridbazaar.envs.markets.posted_price import share_pro_rata

_TO_THE_WALL = 0.995  # part of the way to the nearest bound that a step takes
_NOTHING = 1e-7  # of an order: what an interior point leaves of zero and of all


@dataclass(frozen=True)
class Dispatch:
    """Trades [B, N] kW, the price at each seat [B, N] EUR/kWh, whether it was found [B], steps."""

    cleared_kw: Tensor
    price: Tensor
    found: Tensor
    iterations: int


@dataclass(frozen=True)
class _Problem:
    """Scaled: gains within 1 of zero, orders up to 1, rows with a largest entry of 1.

    size, gain, side, curve are [B, N]; rows [B, K, N] act on fills y >= 0; room [B, K]; real [B, K]
    says which rows are more than padding: the others stay where they are and count for nothing.
    """

    size: Tensor
    gain: Tensor
    side: Tensor
    curve: Tensor
    rows: Tensor
    room: Tensor
    real: Tensor


@dataclass(frozen=True)
class _Point:
    """Fills y, their rests v and the rows' rests w, with multipliers z, beta, mu and balance."""

    y: Tensor
    z: Tensor
    v: Tensor
    beta: Tensor
    w: Tensor
    mu: Tensor
    balance: Tensor  # [B, 1]

    def pairs(self) -> tuple[tuple[Tensor, Tensor], ...]:
        return ((self.y, self.z), (self.v, self.beta), (self.w, self.mu))

    def moved(self, d: _Point, primal: Tensor, dual: Tensor) -> _Point:
        """Go the lengths [B, 1]; a length of zero stays, even where d is not a number."""

        def step(name: str) -> Tensor:
            length = primal if name in ("y", "v", "w") else dual
            here = getattr(self, name)
            there: Tensor = torch.where(length > 0, here + length * getattr(d, name), here)
            return there

        return _Point(**{field.name: step(field.name) for field in fields(self)})


def dispatch(
    quantity_kw: Tensor,
    limit_price: Tensor,
    rows: Tensor,
    room: Tensor,
    regularisation: float,
    tolerance: float,
    max_steps: int,
) -> Dispatch:
    """Find the best trades.

    Args:
        quantity_kw, limit_price: [B, N] orders, float64.
        rows: [B, K, N] effect of a kW sold on each limit; a row of zeros is none.
        room: [B, K] what the trades may use of each; below zero they must relieve it.
        regularisation: r over the spread of the limit prices.
        tolerance: of gap and residuals, scaled to the order book.
        max_steps: of the interior-point method.
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
    problem = _Problem(
        size,
        gain,
        side,
        regularisation / size,
        per_norm * side.unsqueeze(-2),
        torch.where(is_row, room / (norm * largest), 1.0),
        is_row,
    )
    point, found, steps = _solve(problem, tolerance, max_steps)
    fill = torch.where(point.y < _NOTHING * size, 0.0, point.y)
    fill = torch.where(fill > (1 - _NOTHING) * size, size, fill) * largest
    rent = (point.mu.unsqueeze(-2) @ per_norm).squeeze(-2)
    price = (-point.balance - rent) * spread + middle
    return Dispatch(share_pro_rata(fill * side), price, found, steps)


def _solve(problem: _Problem, tolerance: float, max_steps: int) -> tuple[_Point, Tensor, int]:
    p = problem
    sides = torch.stack([p.size * (p.side > 0), p.size * (p.side < 0)])
    totals = sides.sum(-1, keepdim=True)
    volume = totals.amin(0)
    share = torch.where(p.side > 0, volume / totals[0], volume / totals[1])
    y = p.size * torch.where(p.side == 0, 0.5, 0.5 * share.nan_to_num(posinf=0.0))
    one, row = torch.ones_like(y), torch.ones_like(p.room)
    w = (p.room - times(p.rows, y)).clamp(min=0.1).where(p.real, 1.0)
    point = _Point(y, one, p.size - y, one, w, row, torch.zeros_like(volume))
    steps = 0
    while True:
        dual, primal = _residuals(p, point)
        worst = torch.maximum(dual.abs().amax(-1), primal.abs().amax(-1)).unsqueeze(-1)
        open_ = ~((_gap(p, point) <= tolerance * volume) & (worst <= tolerance))
        if steps == max_steps or not bool(open_.any()):
            return point, ~open_.squeeze(-1), max(steps, 1)
        # A market that has arrived stays where it is, whoever else is in the batch.
        point = _mehrotra(p, point, dual, primal, open_)
        steps += 1


def times(rows: Tensor, y: Tensor) -> Tensor:
    """Return rows [B, K, N] times y [B, N]."""
    return (rows @ y.unsqueeze(-1)).squeeze(-1)


def _gap(p: _Problem, at: _Point) -> Tensor:
    """Return the sum of the complementarity products, [B, 1]."""
    return sum((a.sum(-1, keepdim=True) for a in _products(p, at)), torch.zeros(()))


def _products(p: _Problem, at: _Point) -> list[Tensor]:
    y, v, w = (a * b for a, b in at.pairs())
    return [y, v, w * p.real]


def _residuals(p: _Problem, at: _Point) -> tuple[Tensor, Tensor]:
    """Return what is missing of stationarity [B, N] and of the rows [B, K]."""
    pressed = times(p.rows.transpose(-1, -2), at.mu)
    dual = p.curve * at.y - p.gain - at.z + at.beta + pressed + at.balance * p.side
    return dual, p.room - times(p.rows, at.y) - at.w


def _mehrotra(p: _Problem, at: _Point, dual: Tensor, primal: Tensor, open_: Tensor) -> _Point:
    """Take one predictor-corrector step in the markets where `open_`, [B, 1], holds."""
    inverse = 1 / (p.curve + at.z / at.y + at.beta / at.v)
    all_rows = torch.cat([p.rows, p.side.unsqueeze(-2)], -2)
    scaled = all_rows * inverse.unsqueeze(-2)
    slack = torch.cat([at.w / at.mu, torch.zeros_like(at.balance)], -1)
    factor, _ = torch.linalg.cholesky_ex(
        scaled @ all_rows.transpose(-1, -2) + torch.diag_embed(slack)
    )

    def direction(cy: Tensor, cv: Tensor, cw: Tensor) -> _Point:
        """Solve for the step that brings the products to c more than they are."""
        right = cy / at.y - cv / at.v - dual
        right_rows = torch.cat([primal - cw / at.mu, torch.zeros_like(at.balance)], -1)
        aim = times(scaled, right) - right_rows
        solved = torch.cholesky_solve(aim.unsqueeze(-1), factor)
        dy = inverse * (right - (all_rows.transpose(-1, -2) @ solved).squeeze(-1))
        dmu, dbalance = solved.squeeze(-1)[:, :-1], solved.squeeze(-1)[:, -1:]
        dw = (cw - at.w * dmu) / at.mu
        dz, dbeta = (cy - at.z * dy) / at.y, (cv + at.beta * dy) / at.v
        return _Point(dy, dz, -dy, dbeta, dw, dmu, dbalance)

    products, gap = _products(p, at), _gap(p, at)
    count = 2 * at.y.shape[-1] + p.real.sum(-1, keepdim=True)
    guess = direction(*[-product for product in products])
    left = _gap(p, at.moved(guess, *_lengths(at, guess)))
    target = (left / gap).clamp(0, 1) ** 3 * gap / count
    aims = (target, target, target * p.real)
    bends = _products(p, guess)
    aim = direction(*[t - a - b for t, a, b in zip(aims, products, bends, strict=True)])
    longest = [_TO_THE_WALL * length for length in _lengths(at, aim)]
    # One length for both keeps the quadratic term's stationarity.
    length = torch.where(open_, torch.minimum(*longest), 0.0)
    return at.moved(aim, length, length)


def _lengths(at: _Point, d: _Point) -> tuple[Tensor, Tensor]:
    """Return how far primal and dual parts can go, [B, 1] each, at most 1."""

    def furthest(here: list[Tensor], way: list[Tensor]) -> Tensor:
        steps = [
            torch.where(b < 0, -a / b, torch.inf).amin(-1) for a, b in zip(here, way, strict=True)
        ]
        return torch.stack(steps).amin(0).clamp(max=1).unsqueeze(-1)

    return (
        furthest([at.y, at.v, at.w], [d.y, d.v, d.w]),
        furthest([at.z, at.beta, at.mu], [d.z, d.beta, d.mu]),
    )
