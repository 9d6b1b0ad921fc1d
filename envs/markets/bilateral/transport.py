"""Trades of largest gain between sellers and buyers, by an interior-point method in batch.

maximise  sum_ij gain_ij y_ij - r/2 sum_ij traded / (supply_i demand_j) y_ij^2
subject to  sum_j y_ij <= supply_i,  sum_i y_ij <= demand_j,  y >= 0

The quadratic term makes the trades unique, with ties pro rata; it is small (`regularisation` of the
largest gain), so that the welfare is that of the linear programme within the tolerance asked for.
The start is strictly feasible, and so is every iterate; the normal equations have one unknown per
seat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets.interior_point import Iterate, solve
from gridbazaar.envs.markets.pairs import PairBook

_NOTHING = 1e-6  # of a pair's even share of all trade: what an interior point leaves of zero
_GRID = 2.0**20  # steps of a multiplier up to the largest gain

_Parts = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Optimum:
    """Trades and what a kW more of a seller's order would add to the gain.

    Attributes:
        pair_kw: [B, S, K].
        seller_multiplier: [B, S] EUR/kWh, of the seller's limit, to a millionth of the largest
            gain.
        gap: [B] duality gap over the welfare of the trades.
        iterations: [B] that each market took, at least 1.
    """

    pair_kw: Tensor
    seller_multiplier: Tensor
    gap: Tensor
    iterations: Tensor


def optimise(book: PairBook, regularisation: float, tolerance: float, max_steps: int) -> Optimum:
    """Solve every market of the book to a relative duality gap of `tolerance`."""
    traded, scale = book.traded_kw, book.largest_gain
    supply = torch.where(book.open.any(-1), book.supply_kw / traded, 1.0)
    demand = torch.where(book.open.any(-2), book.demand_kw / traded, 1.0)
    size = supply.unsqueeze(-1) * demand.unsqueeze(-2)
    gain = book.gain / scale.unsqueeze(-1)
    programme = _Transport(book.open, gain, regularisation / size, tolerance)
    at, _, steps = solve(programme, programme.start(supply, demand, size), max_steps)
    y = programme.by_pair(at.slack)[0]
    welfare = programme.welfare(at)
    gap = at.products(programme.counts).sum(-1)
    trades = (y * traded.unsqueeze(-1)).where(y > _NOTHING * size, 0.0)
    relative = torch.where(book.open.any(-1).any(-1), gap / welfare, 0.0)
    # Where an order is only just filled its multiplier is exact to the root of rounding alone.
    multiplier = (programme.by_pair(at.multiplier)[1] * _GRID).round() / _GRID * scale
    return Optimum(trades, multiplier, relative, steps.clamp(min=1))


class _Transport:
    """The programme, scaled: trades y, what sellers and buyers keep; reduced costs, multipliers.

    is_open, gain, curve: [B, S, K].
    """

    one_length = True

    def __init__(self, is_open: Tensor, gain: Tensor, curve: Tensor, tolerance: float):
        self.open_pairs, self.gain, self.curve, self.tolerance = is_open, gain, curve, tolerance
        # A seat without a partner takes no part, so that padding changes nothing.
        self.in_row, self.in_column = is_open.any(-1), is_open.any(-2)
        self.counts = torch.cat([is_open.flatten(1), self.in_row, self.in_column], -1)

    def start(self, supply: Tensor, demand: Tensor, size: Tensor) -> Iterate:
        """Return a strictly feasible point: nine tenths of the even share for every pair."""
        mu, nu = self.in_row.to(supply), self.in_column.to(demand)
        total = (supply * mu).sum(-1, keepdim=True) + (demand * nu).sum(-1, keepdim=True)
        total = total.clamp(min=1.0)  # where nobody has a partner
        y = (0.9 * size / total.unsqueeze(-1)).where(self.open_pairs, 0.0)
        w = (2 + self.curve * y - self.gain).where(self.open_pairs, 1.0)
        return self._iterate((y, supply - y.sum(-1), demand - y.sum(-2)), (w, mu, nu))

    def by_pair(self, flat: Tensor) -> _Parts:
        """Return what is of pairs [B, S, K], sellers [B, S] and buyers [B, K]."""
        S, K = self.gain.shape[1:]
        pairs, sellers, buyers = flat.split([S * K, S, K], -1)
        return pairs.view(-1, S, K), sellers, buyers

    def welfare(self, at: Iterate) -> Tensor:
        """Return the gain of all trades, [B]."""
        return (self.by_pair(at.slack)[0] * self.gain).flatten(1).sum(-1)

    def is_open(self, at: Iterate, gap: Tensor) -> Tensor:
        """Return where the gap is not small against the welfare, [B, 1]."""
        return gap > self.tolerance * self.welfare(at).unsqueeze(-1)

    def newton(self, at: Iterate) -> Callable[[Tensor], Iterate]:
        """Factorise the Schur complement of the buyers."""
        (y, u, v), (w, mu, nu) = self.by_pair(at.slack), self.by_pair(at.multiplier)
        stiff = w + self.curve * y
        k = (y / stiff).where(self.open_pairs, 0.0)
        rows = torch.where(self.in_row, u / mu + k.sum(-1), 1.0)
        columns = torch.where(self.in_column, v / nu + k.sum(-2), 1.0)
        over = k / rows.unsqueeze(-1)
        schur = torch.diag_embed(columns) - k.transpose(-1, -2) @ over
        factor, _ = torch.linalg.cholesky_ex(schur)

        def direction(change: Tensor) -> Iterate:
            g, seller, buyer = self.by_pair(change)
            h = (g / stiff).where(self.open_pairs, 0.0)
            right_u = torch.where(self.in_row, seller / mu + h.sum(-1), 0.0)
            right_v = torch.where(self.in_column, buyer / nu + h.sum(-2), 0.0)
            right = right_v.unsqueeze(-1) - over.transpose(-1, -2) @ right_u.unsqueeze(-1)
            d_nu = torch.cholesky_solve(right, factor).squeeze(-1)
            d_mu = (right_u - (k @ d_nu.unsqueeze(-1)).squeeze(-1)) / rows
            d_sum = d_mu.unsqueeze(-1) + d_nu.unsqueeze(-2)
            d_y = h - k * d_sum
            d_w = (d_sum + self.curve * d_y).where(self.open_pairs, 0.0)
            return self._iterate((d_y, -d_y.sum(-1), -d_y.sum(-2)), (d_w, d_mu, d_nu))

        return direction

    @staticmethod
    def _iterate(slack: _Parts, multiplier: _Parts) -> Iterate:
        s, m = (torch.cat([y.flatten(1), u, v], -1) for y, u, v in (slack, multiplier))
        return Iterate(s, m, s[:, :0], s[:, :0])
