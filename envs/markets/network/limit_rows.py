"""Feeder limits as rows of a linear programme over the seats' trades."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gridbazaar.envs.grid.limits import LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU, Limits
from gridbazaar.envs.grid.power_flow import Solution
from gridbazaar.envs.markets.network.trade_limits import flow
from gridbazaar.envs.markets.protocol import GridContext


@dataclass(frozen=True)
class LimitRows:
    """All limits as rows of `effect` x <= ceiling, [K, N] and [B, K]: voltages, then branches.

    The AC state says where the trades stand, the sensitivities where a change leads.
    """

    effect: Tensor
    along: Tensor  # [nl + nt, M] branch loading per kW at an injection, for a current's way
    ceiling: Tensor
    unit: Tensor  # [K] breach that counts as none
    idle: Tensor  # [B, K] state without trades

    @classmethod
    def of(cls, grid: GridContext, limits: Limits) -> LimitRows:
        """Set up the rows of the markets in `grid`, whose limits are [B, .]."""
        known = grid.solver.sensitivities
        to_seat = grid.to_bus.T.double()
        voltage, along = known.vm_pu.double() @ to_seat, known.branch_percent.double()
        branch = along @ to_seat
        loading = torch.cat([limits.line_percent, limits.trafo_percent], 1)
        parts = (limits.vm_max_pu, -limits.vm_min_pu, loading, loading)
        ceiling = torch.cat(parts, 1).double()
        unit = torch.full_like(ceiling[0], LOADING_TOLERANCE_PERCENT)
        unit[: 2 * len(voltage)] = VOLTAGE_TOLERANCE_PU
        rows = cls(torch.cat([voltage, -voltage, branch, -branch]), along, ceiling, unit, ceiling)
        nothing = grid.background_kw @ grid.to_bus.T * 0
        return replace(rows, idle=rows.state(grid, flow(grid, nothing), nothing.double()))

    def state(self, grid: GridContext, solution: Solution, cleared_kw: Tensor) -> Tensor:
        """Return where each row stands, [B, K]; a branch's loading has the sign of its way."""
        injection_kw = grid.background_kw + cleared_kw.to(grid.to_bus) @ grid.to_bus
        way = torch.where(injection_kw.double() @ self.along.T < 0, -1.0, 1.0)
        loading = torch.cat([solution.line_loading_percent, solution.trafo_loading_percent], 1)
        signed = way * loading
        seen = torch.cat([solution.vm_pu, -solution.vm_pu, signed, -signed], 1).double()
        expected = self.idle + cleared_kw.double() @ self.effect.T
        return torch.where(solution.converged.unsqueeze(-1), seen, expected)

    def slopes(
        self, grid: GridContext, solution: Solution, cleared_kw: Tensor, index: Tensor
    ) -> Tensor:
        """Return the effect [R, K, N] of a kW sold on the rows `index` [R, K] at this state."""
        known, to_bus = grid.solver.slopes, grid.to_bus.double()
        injection_kw = grid.background_kw.double() + cleared_kw.double() @ to_bus
        power = torch.complex(injection_kw, grid.reactive_kvar.double())
        buses, branches = known.buses, known.branches
        magnitude = torch.where(index < 2 * buses, index % buses, (index - 2 * buses) % branches)
        magnitude = torch.where(index < 2 * buses, magnitude, magnitude + buses)
        lower = (index >= buses) & (index < 2 * buses) | (index >= 2 * buses + branches)
        against = injection_kw @ self.along.T < 0
        ways = torch.cat([torch.zeros_like(against[:, :1]).expand(-1, buses), against], 1)
        falls = lower ^ ways.gather(1, magnitude)
        sign = 1 - 2 * falls.to(power.real.dtype)
        effect = known.at(power, solution.v, magnitude) @ to_bus.T * sign.unsqueeze(-1)
        return torch.where(solution.converged[:, None, None], effect, self.effect[index])

    def of_markets(self, rows: Tensor) -> LimitRows:
        """Keep some markets of the batch."""
        return replace(self, ceiling=self.ceiling[rows], idle=self.idle[rows])
