"""The trades of largest gain between sellers and buyers, by an interior-point method in batch.

maximise  sum_ij gain_ij y_ij - r/2 sum_ij traded / (supply_i demand_j) y_ij^2
subject to  sum_j y_ij <= supply_i,  sum_i y_ij <= demand_j,  y >= 0

The quadratic term makes the trades unique, with ties pro rata; it is small (`regularisation` of the
largest gain), so that the welfare is that of the linear programme within the tolerance asked for.
The steps are Mehrotra's predictor and corrector (SIAM J. Optimization 2(4), 1992) from a strictly
feasible start, so that every iterate is feasible; the normal equations have one unknown per seat.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets.pairs import PairBook

_TO_THE_WALL = 0.99  # part of the way to the nearest bound that a step takes
_NOTHING = 1e-6  # of a pair's even share of all trade: what an interior point leaves of zero

_GRID = 2.0**20  # steps of a multiplier up to the largest gain


@dataclass(frozen=True)
class Optimum:
    """Trades and what a kW more of each order would be worth.

    Attributes:
        pair_kw: [B, S, K].
        seller_worth, buyer_worth: [B, S] and [B, K] EUR/kWh, the multipliers of the limits, to a
            millionth of the largest gain.
        gap: [B] duality gap over the welfare of the trades.
        iterations: [B] that each market took, at least 1.
    """

    pair_kw: Tensor
    seller_worth: Tensor
    buyer_worth: Tensor
    gap: Tensor
    iterations: Tensor


@dataclass(frozen=True)
class _Point:
    """Trades y and their reduced costs w; what sellers (u) and buyers (v) keep; their worths."""

    y: Tensor
    w: Tensor
    u: Tensor
    v: Tensor
    mu: Tensor
    nu: Tensor

    def parts(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Return the pairs of which one must be zero at the optimum."""
        return ((self.y, self.w), (self.u, self.mu), (self.v, self.nu))

    def step(self, d: _Point, primal: Tensor, dual: Tensor) -> _Point:
        """Go the lengths, [B, 1] each; a length of zero stays, even where d is not a number."""

        def move(a: Tensor, length: Tensor, b: Tensor) -> Tensor:
            length = length if a.dim() == length.dim() else length.unsqueeze(-1)
            return torch.where(length > 0, a + length * b, a)

        return _Point(
            move(self.y, primal, d.y),
            move(self.w, dual, d.w),
            move(self.u, primal, d.u),
            move(self.v, primal, d.v),
            move(self.mu, dual, d.mu),
            move(self.nu, dual, d.nu),
        )


def optimise(book: PairBook, regularisation: float, tolerance: float, max_steps: int) -> Optimum:
    """Solve every market of the book to a relative duality gap of `tolerance`."""
    traded, scale = book.traded_kw, book.largest_gain
    supply = torch.where(book.open.any(-1), book.supply_kw / traded, 1.0)
    demand = torch.where(book.open.any(-2), book.demand_kw / traded, 1.0)
    size = supply.unsqueeze(-1) * demand.unsqueeze(-2)
    gain = book.gain / scale.unsqueeze(-1)
    curve = regularisation / size
    # A seat without a partner takes no part, so that padding changes nothing: its worth is zero.
    mu, nu = book.open.any(-1).to(supply), book.open.any(-2).to(demand)
    total = (supply * mu).sum(-1, keepdim=True) + (demand * nu).sum(-1, keepdim=True)
    total = total.clamp(min=1.0)  # where nobody has a partner
    y = (0.9 * size / total.unsqueeze(-1)).where(book.open, 0.0)
    w = (2 + curve * y - gain).where(book.open, 1.0)
    at = _Point(y, w, supply - y.sum(-1), demand - y.sum(-2), mu, nu)
    gap, welfare = _gap(at, gain)
    steps = torch.zeros_like(gap, dtype=torch.int64)
    for _ in range(max_steps):
        # A market that has arrived stays where it is, whoever else is in the batch.
        move = gap > tolerance * welfare
        if not bool(move.any()):
            break
        steps = steps + move
        at = _mehrotra(at, book.open, curve, gap, move.unsqueeze(-1))
        gap, welfare = _gap(at, gain)
    trades = (at.y * traded.unsqueeze(-1)).where(at.y > _NOTHING * size, 0.0)
    relative = torch.where(book.open.any(-1).any(-1), gap / welfare, 0.0)
    # Where an order is only just filled its multiplier is exact to the root of rounding alone.
    mu, nu = ((worth * _GRID).round() / _GRID * scale for worth in (at.mu, at.nu))
    return Optimum(trades, mu, nu, relative, steps.clamp(min=1))


def _gap(at: _Point, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of the complementarity products and the welfare, [B] each, scaled."""
    gap = sum(((a * b).flatten(1).sum(-1) for a, b in at.parts()), torch.zeros(()))
    idle = ~(at.y > 0).flatten(1).any(-1)
    return torch.where(idle, 0.0, gap), (at.y * gain).flatten(1).sum(-1)


def _mehrotra(at: _Point, is_open: Tensor, curve: Tensor, gap: Tensor, move: Tensor) -> _Point:
    """Take one predictor-corrector step in the markets where `move`, [B, 1], holds."""
    stiff = at.w + curve * at.y
    k = (at.y / stiff).where(is_open, 0.0)
    in_row, in_column = at.mu > 0, at.nu > 0
    rows = torch.where(in_row, at.u / at.mu + k.sum(-1), 1.0)
    columns = torch.where(in_column, at.v / at.nu + k.sum(-2), 1.0)
    over = k / rows.unsqueeze(-1)
    schur = torch.diag_embed(columns) - k.transpose(-1, -2) @ over
    factor, _ = torch.linalg.cholesky_ex(schur)

    def direction(g: Tensor, seller: Tensor, buyer: Tensor) -> _Point:
        """Solve for the step that brings the products to g more than they are."""
        h = (g / stiff).where(is_open, 0.0)
        right_u = torch.where(in_row, seller / at.mu + h.sum(-1), 0.0)
        right_v = torch.where(in_column, buyer / at.nu + h.sum(-2), 0.0)
        right = right_v.unsqueeze(-1) - over.transpose(-1, -2) @ right_u.unsqueeze(-1)
        d_nu = torch.cholesky_solve(right, factor).squeeze(-1)
        d_mu = (right_u - (k @ d_nu.unsqueeze(-1)).squeeze(-1)) / rows
        d_sum = d_mu.unsqueeze(-1) + d_nu.unsqueeze(-2)
        d_y = h - k * d_sum
        d_w = (d_sum + curve * d_y).where(is_open, 0.0)
        return _Point(d_y, d_w, -d_y.sum(-1), -d_y.sum(-2), d_mu, d_nu)

    products = [a * b for a, b in at.parts()]
    count = is_open.flatten(1).sum(-1) + in_row.sum(-1) + in_column.sum(-1)
    mean = (gap / count).unsqueeze(-1)
    guess = direction(*[-p for p in products])
    ahead = at.step(guess, *_lengths(at, guess, is_open))
    left = sum(((a * b).flatten(1).sum(-1) for a, b in ahead.parts()), torch.zeros(()))
    centre = (left / gap.clamp(min=torch.finfo(gap.dtype).tiny)).clamp(0, 1) ** 3
    target = centre.unsqueeze(-1) * mean
    bends = [a * b for a, b in guess.parts()]
    aims = (target.unsqueeze(-1), target, target)
    aim = direction(*[t - p - b for t, p, b in zip(aims, products, bends, strict=True)])
    primal, dual = _lengths(at, aim, is_open)
    # One length for both keeps the quadratic term's multipliers feasible.
    length = torch.where(move, _TO_THE_WALL * torch.minimum(primal, dual), 0.0)
    return at.step(aim, length, length)


def _lengths(at: _Point, d: _Point, is_open: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far the trades and the multipliers can go, [B, 1] each, at most 1."""

    def furthest(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        steps = [torch.where(b < 0, -a / b, torch.inf).flatten(1).amin(-1) for a, b in pairs]
        return torch.stack(steps).amin(0).clamp(max=1).unsqueeze(-1)

    return (
        furthest([(at.y.where(is_open, 1.0), d.y), (at.u, d.u), (at.v, d.v)]),
        furthest([(at.w, d.w), (at.mu, d.mu), (at.nu, d.nu)]),
    )
