"""Damped Newton on v = w + Z conj(s / v) for the rows that the fixed point does not settle.

Near the nose of the power-voltage curve the fixed point hardly contracts; Newton still converges
there, and beyond the nose, where no solution exists, its smallest mismatch stays above tolerance.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ITERATIONS = 15
_HALVINGS = 6
_ROWS_AT_ONCE = 64
# A start outside these per-unit bounds is a fixed point on its way to nowhere.
_PLAUSIBLE_PU = (0.3, 2.0)


def refine(
    z: Tensor, w: Tensor, s: Tensor, v: Tensor, tolerance: float
) -> tuple[Tensor, Tensor, int]:
    """Solve rows `s` [R, M] from starts `v` [R, M]; z [M, M], w [M], all complex per unit.

    Returns the voltages of the smallest mismatch [R, M], whether it is within `tolerance` [R], and
    the iterations spent.
    """
    parts = [
        _refine(z, w, part, start, tolerance)
        for part, start in zip(s.split(_ROWS_AT_ONCE), v.split(_ROWS_AT_ONCE), strict=True)
    ]
    voltages, found, spent = zip(*parts, strict=True)
    return torch.cat(voltages), torch.cat(found), max(spent)


def differentiable(z: Tensor, w: Tensor, s: Tensor, v: Tensor, found: Tensor) -> Tensor:
    """Return the solution v [B, M] with its derivatives by s, from one Newton step of no length.

    The step's matrix is taken at the solution, so that its derivative is that of the implicit
    function v(s); `v` carries none itself. Rows that were not `found` [B] get none.
    """
    at, v_at = s.detach(), torch.where(found[:, None], v, w)
    parts = [
        _direction(z, part_at, part_v, _gap(z, w, part, part_v))
        for part, part_at, part_v in zip(
            s.where(found[:, None], 0.0).split(_ROWS_AT_ONCE),
            at.where(found[:, None], 0.0).split(_ROWS_AT_ONCE),
            v_at.split(_ROWS_AT_ONCE),
            strict=True,
        )
    ]
    step = torch.cat(parts)
    return v + (step - step.detach())


def _refine(
    z: Tensor, w: Tensor, s: Tensor, v: Tensor, tolerance: float
) -> tuple[Tensor, Tensor, int]:
    size = v.abs()
    plausible = (size > _PLAUSIBLE_PU[0]) & (size < _PLAUSIBLE_PU[1])
    v = torch.where(plausible.all(1, keepdim=True), v, w)
    gap = _gap(z, w, s, v)
    spent = 0
    while spent < _ITERATIONS and bool((_size(gap) > tolerance).any()):
        v, gap = _damped(z, w, s, v, gap, _direction(z, s, v, gap))
        spent += 1
    return v, _size(gap) <= tolerance, spent


def _damped(
    z: Tensor, w: Tensor, s: Tensor, v: Tensor, gap: Tensor, step: Tensor
) -> tuple[Tensor, Tensor]:
    """The first of step, step/2, step/4, ... that lowers the mismatch of a row, or none."""
    length = torch.ones(len(v), 1, dtype=w.real.dtype, device=v.device)
    moving = torch.ones(len(v), dtype=torch.bool, device=v.device)
    best_v, best_gap = v, gap
    for _ in range(_HALVINGS):
        trial = v + length * step
        trial_gap = _gap(z, w, s, trial)
        better = moving & (_size(trial_gap) < _size(gap))
        best_v = torch.where(better[:, None], trial, best_v)
        best_gap = torch.where(better[:, None], trial_gap, best_gap)
        moving = moving & ~better
        if not bool(moving.any()):
            break
        length = length / 2
    return best_v, best_gap


def _direction(z: Tensor, s: Tensor, v: Tensor, gap: Tensor) -> Tensor:
    """Newton step dv of dv + Z conj(s / v^2) conj(dv) = -gap, in real and imaginary parts."""
    m = z.shape[0]
    g = z * (s / (v * v)).conj()[:, None, :]
    eye = torch.eye(m, dtype=g.real.dtype, device=g.device)
    jacobian = torch.cat(
        [torch.cat([eye + g.real, g.imag], 2), torch.cat([g.imag, eye - g.real], 2)], 1
    )
    solved, _ = torch.linalg.solve_ex(jacobian, -torch.cat([gap.real, gap.imag], 1))
    return torch.complex(solved[:, :m], solved[:, m:])


def _gap(z: Tensor, w: Tensor, s: Tensor, v: Tensor) -> Tensor:
    return v - w - (s / v).conj() @ z.T


def _size(gap: Tensor) -> Tensor:
    """Largest component [R]; not finite counts as infinite, so that it never looks better."""
    return torch.nan_to_num(torch.view_as_real(gap).abs().amax((1, 2)), nan=torch.inf)
