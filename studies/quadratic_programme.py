"""Convex quadratic programmes with equations and non-negative unknowns, many side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gridbazaar.envs.markets.interior_point import Iterate, solve


def solve_quadratic(
    quadratic: Tensor,
    linear: Tensor,
    matrix: Tensor,
    right: Tensor,
    tolerance: float = 1e-9,
    max_steps: int = 100,
) -> tuple[Tensor, Tensor]:
    """Return the x >= 0 that minimise x quadratic x / 2 + linear x under matrix x = right.

    Args:
        quadratic, linear: [B, n, n] positive semidefinite, and [B, n].
        matrix, right: [B, m, n] of full rank, and [B, m].
        tolerance: of the mean product and of the residuals.
        max_steps: of the interior-point method.

    Returns:
        x [B, n], and whether each was found, [B].
    """
    programme = _Quadratic(quadratic, linear, matrix, right, tolerance)
    one = torch.ones_like(linear)
    at = Iterate(one, one, linear[:, :0], torch.zeros_like(right))
    at, found, _ = solve(programme, at, max_steps)
    return at.slack, found


@dataclass(frozen=True)
class _Quadratic:
    """The programme; slacks are the unknowns themselves, the equations' multipliers are free."""

    quadratic: Tensor
    linear: Tensor
    matrix: Tensor
    right: Tensor
    tolerance: float
    one_length: ClassVar[bool] = True

    @property
    def counts(self) -> Tensor:
        """All pairs count, [B, n]."""
        return torch.ones_like(self.linear, dtype=torch.bool)

    def _residuals(self, at: Iterate) -> tuple[Tensor, Tensor]:
        """Return what is missing of stationarity [B, n] and of the equations [B, m]."""
        dual = self.linear + _times(self.quadratic, at.slack) - at.multiplier
        dual = dual - _times(self.matrix.mT, at.dual)
        return dual, self.right - _times(self.matrix, at.slack)

    def is_open(self, at: Iterate, gap: Tensor) -> Tensor:
        """Return where products or residuals are not small yet, [B, 1]."""
        missing = torch.cat(self._residuals(at), -1).abs().amax(-1, keepdim=True)
        return ~((gap <= self.tolerance * self.linear.shape[-1]) & (missing <= self.tolerance * 10))

    def newton(self, at: Iterate) -> Callable[[Tensor], Iterate]:
        """Factorise the curvature, then the equations."""
        dual, primal = self._residuals(at)
        inner, _ = torch.linalg.cholesky_ex(
            self.quadratic + torch.diag_embed(at.multiplier / at.slack)
        )
        back = torch.cholesky_solve(self.matrix.mT, inner)
        outer, _ = torch.linalg.cholesky_ex(self.matrix @ back)

        def direction(change: Tensor) -> Iterate:
            # curvature dx - matrix' dy = change / x - dual;  matrix dx = primal
            pull = change / at.slack - dual
            free = torch.cholesky_solve(pull.unsqueeze(-1), inner).squeeze(-1)
            short = primal - _times(self.matrix, free)
            d_dual = torch.cholesky_solve(short.unsqueeze(-1), outer).squeeze(-1)
            d_x = free + _times(back, d_dual)
            return Iterate(d_x, (change - at.multiplier * d_x) / at.slack, at.primal, d_dual)

        return direction


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """Return matrices [B, m, n] times vectors [B, n]."""
    return (matrix @ x.unsqueeze(-1)).squeeze(-1)
