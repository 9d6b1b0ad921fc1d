"""Losses of a feeder as a cost of the seats' trades: slopes and curvature at an AC state.

Losses are those of the AC power flow of background and trades. Their slopes are exact, by implicit
differentiation of the power flow; their curvature is that of currents in the feeder's resistances
at the voltages of the state, 2 Re(Z) in a loop-free feeder at 1 p.u., and positive semidefinite.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gridbazaar.envs.grid.power_flow import Solution
from gridbazaar.envs.markets.network.trade_limits import flow
from gridbazaar.envs.markets.protocol import GridContext


@dataclass(frozen=True)
class LossCost:
    """What the losses of R markets cost.

    Attributes:
        price: [R, 1] EUR/kWh of energy that is lost.
        idle_kw: [R] losses of the background without trades.
    """

    price: Tensor
    idle_kw: Tensor

    @classmethod
    def of(cls, grid: GridContext, price: Tensor) -> LossCost:
        """Set up the cost at these prices [R, 1] for the markets in `grid`."""
        nothing = grid.background_kw @ grid.to_bus.T.to(grid.background_kw) * 0
        return cls(price.double(), flow(grid, nothing).losses_kw.double())

    def of_markets(self, rows: Tensor) -> LossCost:
        """Keep some of the markets."""
        return replace(self, price=self.price[rows], idle_kw=self.idle_kw[rows])

    def cost(self, solution: Solution) -> Tensor:
        """Return what a state's losses cost beyond those of the background, [R] EUR/h."""
        return self.price.squeeze(-1) * (solution.losses_kw.double() - self.idle_kw)

    def model(self, grid: GridContext, solution: Solution, trades_kw: Tensor) -> LossModel:
        """Return the cost to second order around trades [R, N] and their state."""
        slope = self.price * loss_slopes(grid, trades_kw)
        curvature = self.price.unsqueeze(-1) * _curvature(grid, solution)
        pulled = (curvature @ trades_kw.unsqueeze(-1)).squeeze(-1)
        here = self.cost(solution) - (slope * trades_kw).sum(-1) + (pulled * trades_kw).sum(-1) / 2
        return LossModel(slope - pulled, curvature, here)


@dataclass(frozen=True)
class LossModel:
    """Cost of losses as constant + linear x + x curvature x / 2 of trades x [R, N], in EUR/h.

    Attributes:
        linear: [R, N] EUR/kWh.
        curvature: [R, N, N] EUR/kWh per kW.
        constant: [R] EUR/h.
    """

    linear: Tensor
    curvature: Tensor
    constant: Tensor

    def slope(self, trades_kw: Tensor) -> Tensor:
        """Return what a kW more costs, [R, N] EUR/kWh."""
        return self.linear + (self.curvature @ trades_kw.unsqueeze(-1)).squeeze(-1)

    def cost(self, trades_kw: Tensor) -> Tensor:
        """Return what the losses cost, [R] EUR/h."""
        middle = (self.linear + self.slope(trades_kw)) / 2
        return self.constant + (middle * trades_kw).sum(-1)


def loss_slopes(grid: GridContext, trades_kw: Tensor) -> Tensor:
    """Return by how many kW the losses change per kW more at each seat, [R, N] float64.

    Zero in markets whose state was not found.
    """
    with torch.enable_grad():
        moved = trades_kw.detach().to(grid.background_kw).requires_grad_()
        losses = flow(grid, moved).losses_kw
        (slope,) = torch.autograd.grad(losses.sum(), moved)
    return slope.double()


def _curvature(grid: GridContext, solution: Solution) -> Tensor:
    """Return the curvature of the losses, [R, N, N] 1/kW."""
    known = grid.solver.slopes
    per_power = solution.v.to(known.impedance).conj().reciprocal()
    lossy = known.impedance + known.impedance.mH
    by_bus = (per_power.conj().unsqueeze(-1) * lossy * per_power.unsqueeze(-2)).real
    to_bus = grid.to_bus.double()
    return to_bus @ (by_bus / known.base_kw) @ to_bus.T
