"""Curtailment of the injections that break a limit, shared in proportion to their effect on it.

A broken limit asks every injection that pushes it (exports for overvoltage, imports for
undervoltage, whatever flows the overloaded way for a branch) for the same fraction of its power
times its relative sensitivity, just enough to first order; an injection asked by several limits
gives the largest fraction. The power flow is solved again after each round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.grid.limits import Limits, Violations, violations
from gridbazaar.envs.grid.network import Network
from gridbazaar.envs.grid.power_flow import FlowSolver, Solution

# Smallest breach acted upon: below the power flow's own accuracy in float32.
_VOLTAGE_PU, _PERCENT = 1e-5, 1e-2
# A weaker pull than this share of the strongest is not responsible (a mesh couples all branches).
_RESPONSIBLE = 0.02


@dataclass(frozen=True)
class Sensitivities:
    """First-order effect of one more kW exported at each injection bus, at the no-load state."""

    vm_pu: Tensor  # [nbus, M] p.u. per kW
    branch_percent: Tensor  # [nl + nt, M] per kW, lines first; negative: against the branch's way
    relief: Tensor  # [K, 2M] see `_relief`

    @classmethod
    def of(
        cls,
        network: Network,
        injection_buses: Sequence[int] | NDArray[np.int64],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Sensitivities:
        """Analytic from the impedance matrix: dV = Z conj(ds / w), d|V| = Re(dV conj(V) / |V|).

        The way of a branch is that of the current its most effective injection causes; only the
        component in phase with it counts.
        """
        nodes = network.nodes_of(injection_buses)
        no_load = network.no_load_voltage()
        per_kw = network.impedance(nodes) / (np.conj(no_load[nodes]) * network.base_mva * 1e3)
        at_bus = no_load[network.bus_node, None]
        vm = (per_kw[network.bus_node] * np.conj(at_bus) / np.abs(at_bus)).real
        current = network.percent_from @ per_kw
        strongest = np.abs(current).argmax(1)[:, None] if len(current) else np.zeros((0, 1), int)
        along = np.take_along_axis(current, strongest, axis=1)
        size = np.abs(along)
        way = np.conj(along) / np.where(size > 0, size, 1.0)
        vm_pu = torch.as_tensor(vm, dtype=dtype, device=device)
        branch_percent = torch.as_tensor((current * way).real, dtype=dtype, device=device)
        return cls(vm_pu, branch_percent, _relief(vm_pu, branch_percent))


def curtail(
    flow: FlowSolver,
    sensitivities: Sensitivities,
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
        rows = breach.broken(_VOLTAGE_PU, _PERCENT).nonzero().squeeze(1)
        if not len(rows):
            break
        p, room = p_kw[rows], left[rows]
        available = torch.cat([room * (p > 0), room * (p < 0)], 1)
        demand = _demand(breach, rows, p @ sensitivities.branch_percent.T)
        asked = _fractions(sensitivities.relief, demand, available)
        exports, imports = asked.chunk(2, 1)
        cut = torch.where(p > 0, exports, imports) * room
        p_kw = p_kw.index_copy(0, rows, p - cut * p.sign())
        left = left.index_copy(0, rows, room - cut)
        again = flow.solve(p_kw[rows], q_kvar[rows], solution.v[rows])
        solution = solution.replaced(rows, again)
    return p_kw, solution


def _relief(vm_pu: Tensor, branch_percent: Tensor) -> Tensor:
    """Relief [K, 2M] of each limit per kW cut from an export (first M) or import (last M).

    Limits in order: overvoltage, undervoltage, branch along its way, branch against it.
    """
    voltage = vm_pu.clamp_min(0.0)
    nothing = torch.zeros_like(voltage)
    along, against = branch_percent.clamp_min(0.0), (-branch_percent).clamp_min(0.0)
    relief = torch.cat(
        [
            torch.cat([voltage, nothing], 1),
            torch.cat([nothing, voltage], 1),
            torch.cat([along, against], 1),
            torch.cat([against, along], 1),
        ]
    )
    return relief * (relief >= _RESPONSIBLE * relief.amax(1, keepdim=True))


def _demand(breach: Violations, rows: Tensor, flow: Tensor) -> Tensor:
    """Relief asked [R, K] in the order of `_relief`; `flow` [R, nl + nt] gives a branch's way."""
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
    scale = torch.where(reachable > 0, demand / reachable, 0.0)
    return (scale[:, :, None] * weight).amax(1).clamp_max_(1.0)
