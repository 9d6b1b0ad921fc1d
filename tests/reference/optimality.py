"""Is this the optimum of a linear programme? Checked without solving it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.errors import LedgerError


@dataclass(frozen=True, slots=True)
class Programme:
    """Minimise c x where row_low <= A x <= row_high and low <= x <= high, B problems at once.

    Bounds may be infinite; equal ones make an equation. A maximum is that of -c.

    Attributes:
        cost: c, float [B, V] for V variables.
        matrix: A, float [B, R, V] for R rows.
        row_low: float [B, R], as is row_high.
        row_high: see row_low.
        low: float [B, V], as is high.
        high: see low.
    """

    cost: Tensor
    matrix: Tensor
    row_low: Tensor
    row_high: Tensor
    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        if self.matrix.dim() != 3:
            raise LedgerError(f"matrix has shape {tuple(self.matrix.shape)}; it must be [B, R, V]")
        batch, rows, variables = self.matrix.shape
        for name in ("row_low", "row_high"):
            _check_shape(name, getattr(self, name), (batch, rows))
        for name in ("cost", "low", "high"):
            _check_shape(name, getattr(self, name), (batch, variables))


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solver claims.

    Attributes:
        value: x, float [B, V].
        price: y, float [B, R], by how much the cost rises with a row's bound: at least 0 at
            row_low, at most 0 at row_high (HiGHS' row_dual).
    """

    value: Tensor
    price: Tensor


@dataclass(frozen=True, slots=True)
class Residuals:
    """How far a solution is from the optimum, [B] each, all 0 there and positive elsewhere.

    Attributes:
        primal: largest violation of a bound or row, over 1 + the largest |x|.
        dual: largest price that no bound can explain, over 1 + the largest |c|.
        slackness: largest product of a price and the room that its bound leaves, over 1 + |c x|.
        gap: difference between the objective and its dual, over 1 + |c x|.
    """

    primal: Tensor
    dual: Tensor
    slackness: Tensor
    gap: Tensor

    def optimal(self, tolerance: float) -> Tensor:
        """Return bool [B]: no residual exceeds the tolerance; NaN never passes."""
        worst = torch.stack([self.primal, self.dual, self.slackness, self.gap])
        return (worst <= tolerance).all(dim=0)


def residuals(programme: Programme, solution: Solution) -> Residuals:
    """Return the Karush-Kuhn-Tucker residuals of a claimed solution.

    The conditions are necessary and sufficient for a linear programme (Boyd and Vandenberghe,
    "Convex optimization", 5.5.3). Reduced costs c - A' y are worked out here, so that a solver
    cannot claim them. Two matrix products: far less than to solve.

    Raises:
        LedgerError: where the solution's shapes are not the programme's.
    """
    p, x, y = programme, solution.value, solution.price
    _check_shape("value", x, p.cost.shape)
    _check_shape("price", y, p.row_low.shape)
    activity = torch.einsum("brv,bv->br", p.matrix, x)
    reduced = p.cost - torch.einsum("brv,br->bv", p.matrix, y)
    objective = (p.cost * x).sum(1)
    scale = 1 + objective.abs()
    row, bound = _side(activity, y, p.row_low, p.row_high), _side(x, reduced, p.low, p.high)
    violation = torch.cat([row.violation, bound.violation], 1).amax(1)
    unexplained = torch.cat([row.unexplained, bound.unexplained], 1).amax(1)
    slack = torch.cat([row.slack, bound.slack], 1).amax(1)
    dual_objective = row.objective + bound.objective
    return Residuals(
        primal=violation / (1 + x.abs().amax(1)),
        dual=unexplained / (1 + p.cost.abs().amax(1)),
        slackness=slack / scale,
        gap=(objective - dual_objective).abs() / scale,
    )


@dataclass(frozen=True, slots=True)
class _Side:
    violation: Tensor
    unexplained: Tensor
    slack: Tensor
    objective: Tensor


def _side(at: Tensor, price: Tensor, low: Tensor, high: Tensor) -> _Side:
    """Return what one set of bounds low <= at <= high with its prices [B, K] contributes."""
    up, down = price.clamp(min=0), (-price).clamp(min=0)
    has_low, has_high = low.isfinite(), high.isfinite()
    zero = torch.zeros_like(at)
    finite_low, finite_high = torch.where(has_low, low, zero), torch.where(has_high, high, zero)
    above, below = at - low, high - at
    return _Side(
        violation=torch.maximum(-above, -below).clamp(min=0),
        unexplained=torch.maximum(up.masked_fill(has_low, 0), down.masked_fill(has_high, 0)),
        slack=torch.maximum(
            torch.where(has_low, up * above.abs(), zero),
            torch.where(has_high, down * below.abs(), zero),
        ),
        objective=(up * finite_low - down * finite_high).sum(1),
    )


def _check_shape(name: str, value: Tensor, shape: tuple[int, ...] | torch.Size) -> None:
    if tuple(value.shape) != tuple(shape):
        raise LedgerError(f"{name} has shape {tuple(value.shape)}; it must be {tuple(shape)}")
