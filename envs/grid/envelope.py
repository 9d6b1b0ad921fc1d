"""Operating envelope: the export and import every seat may use at once without breaking a limit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.grid.limits import Limits, violations
from gridbazaar.envs.grid.power_flow import FlowSolver

# Each pass divides the bracket by this many power flows solved as one batch.
_POINTS, _PASSES = 32, 3
# Room for rounding where the state without injections lies on a limit itself.
_VOLTAGE_PU, _PERCENT = 1e-6, 1e-4


@dataclass(frozen=True)
class Envelope:
    """Static bounds per injection: -import_kw <= p_kw <= export_kw."""

    export_kw: Tensor  # [M] >= 0
    import_kw: Tensor  # [M] >= 0
    export_share: float  # of the rated export, equal for all
    import_share: float  # of the rated import, equal for all


def operating_envelope(
    flow: FlowSolver,
    limits: Limits,
    rated_export_kw: Tensor,
    rated_import_kw: Tensor,
    background_kw: Tensor | None = None,
) -> Envelope:
    """Largest equal share of rated export, and of rated import, [M] >= 0, that the feeder bears.

    All seats export (or import) that share at once, at unity power factor and on top of
    `background_kw` [M] (default none). Raises `ValueError` where limits are broken at share zero.
    """
    base = torch.zeros_like(rated_export_kw) if background_kw is None else background_kw
    for name, rated in (("rated_export_kw", rated_export_kw), ("rated_import_kw", rated_import_kw)):
        if rated.shape != (flow.injections,) or bool((rated < 0).any()):
            raise ValueError(
                f"{name} must have shape [{flow.injections}] and no negative value, "
                f"got shape {list(rated.shape)}, minimum {float(rated.min())}"
            )
    exported = _share(flow, limits, base, rated_export_kw)
    imported = _share(flow, limits, base, -rated_import_kw)
    return Envelope(rated_export_kw * exported, rated_import_kw * imported, exported, imported)


def _share(flow: FlowSolver, limits: Limits, base: Tensor, direction: Tensor) -> float:
    low, high = 0.0, 1.0
    for turn in range(_PASSES):
        shares = torch.linspace(low, high, _POINTS + 1, dtype=base.dtype, device=base.device)
        solution = flow.solve(base + shares[:, None] * direction)
        breach = violations(solution, limits)
        bad = (breach.broken(_VOLTAGE_PU, _PERCENT) | ~solution.converged).nonzero()
        if not len(bad):
            return high
        first = int(bad[0])
        if first == 0:
            if turn == 0:
                raise ValueError(
                    f"'{flow.network.name}' breaks a limit before any seat exports or imports; "
                    "relax the limits or lighten the background"
                )
            return low
        low, high = float(shares[first - 1]), float(shares[first])
    return low
