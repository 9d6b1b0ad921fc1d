"""Curtailment of the injections that break a limit, shared in proportion to their effect on it.

A broken limit asks every injection that pushes it (exports for overvoltage, imports for
undervoltage, whatever flows the overloaded way for a branch) for the same fraction of its power
times its relative sensitivity, just enough to first order; an injection asked by several limits
gives the largest fraction. The power flow is solved again after each round.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.grid.limits import (
    LOADING_TOLERANCE_PERCENT,
    VOLTAGE_TOLERANCE_PU,
    Limits,
    Violations,
    violations,
)
from gridbazaar.envs.grid.power_flow import FlowSolver, Solution


def curtail(
    flow: FlowSolver,
    limits: Limits,
    p_kw: Tensor,
    q_kvar: Tensor,
    solution: Solution,
    rounds: int,
    curtailable_kw: Tensor | None = None,
) -> tuple[Tensor, Solution]:
    """Injections [B, M] cut until limits hold or `rounds` are spent, and the state they lead to.

    `curtailable_kw` [B, M] >= 0 is the part of |p_kw| that may be cut (default all of it); an
    injection never changes sign. `q_kvar` [B, M] stays. Environments within limits are returned as
    given; what no curtailable injection can mend remains in the solution's violations.
    """
    left = p_kw.abs() if curtailable_kw is None else torch.minimum(curtailable_kw, p_kw.abs())
    for _ in range(rounds):
        breach = violations(solution, limits)
        rows = breach.broken(VOLTAGE_TOLERANCE_PU, LOADING_TOLERANCE_PERCENT).nonzero().squeeze(1)
        if not len(rows):
            break
        p, room = p_kw[rows], left[rows]
        available = torch.cat([room * (p > 0), room * (p < 0)], 1)
        demand = _demand(breach, rows, p @ flow.sensitivities.branch_percent.T)
        asked = _fractions(flow.sensitivities.relief, demand, available)
        exports, imports = asked.chunk(2, 1)
        cut = torch.where(p > 0, exports, imports) * room
        p_kw = p_kw.index_copy(0, rows, p - cut * p.sign())
        left = left.index_copy(0, rows, room - cut)
        again = flow.solve(p_kw[rows], q_kvar[rows], solution.v[rows])
        solution = solution.replaced(rows, again)
    return p_kw, solution


def _demand(breach: Violations, rows: Tensor, flow: Tensor) -> Tensor:
    """Relief asked [R, K] by limit, in the order of `Sensitivities.relief`.

    `flow` [R, nl + nt] gives a branch's way.
    """
    overload = torch.cat([breach.line_percent[rows], breach.trafo_percent[rows]], 1)
    return torch.cat(
        [
            breach.over_pu[rows],
            breach.under_pu[rows],
            overload * (flow > 0),
            overload * (flow <= 0),
        ],
        1,
    )


def _fractions(relief: Tensor, demand: Tensor, available_kw: Tensor) -> Tensor:
    """Share [R, 2M] of each available kW to cut, in [0, 1]."""
    live = (demand > 0).any(0)
    relief, demand = relief[live], demand[:, live]
    strongest = relief.amax(1, keepdim=True)
    weight = relief / torch.where(strongest > 0, strongest, 1.0)
    reachable = available_kw @ (relief * weight).T
    scale = demand / torch.where(reachable > 0, reachable, 1.0) * (reachable > 0)
    return (scale[:, :, None] * weight).amax(1).clamp_max(1.0)
