"""Power flow of background and cleared trades, and the limits they must keep.

A limit that the background alone breaks cannot be mended by a market; there the trades must not
make it worse, so the background's own value stands in for the limit.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.envs.grid.limits import (
    LOADING_TOLERANCE_PERCENT,
    VOLTAGE_TOLERANCE_PU,
    Limits,
    violations,
)
from gridbazaar.envs.grid.power_flow import Solution
from gridbazaar.envs.markets.protocol import Context, GridContext, MarketConfig, Orders


class FeederMarketConfig(MarketConfig):
    """What a mechanism does that needs a feeder and is given none."""

    without_grid: Literal["unlimited", "error"] = Field(
        description="where a mechanism is given no feeder: unlimited trades as on one "
        "without limits, error raises",
    )


def grid_of(context: Context, config: FeederMarketConfig, orders: Orders) -> GridContext | None:
    """Return the context's grid with a place for every order, or None where it may be missing.

    Raises ValueError for a missing grid, or one of other markets or seats than the orders'.
    """
    markets, seats = len(orders.quantity_kw), orders.seats
    grid = context.grid
    if grid is None:
        if config.without_grid == "unlimited":
            return None
        raise ValueError(
            f"market {config.name!r} needs the feeder and Context.grid is None; give "
            "Context(grid=...), as a simulation does, or set without_grid: unlimited"
        )
    shapes = (len(grid.background_kw), len(grid.to_bus))
    if shapes != (markets, seats):
        raise ValueError(
            f"grid.background_kw has {shapes[0]} rows and grid.to_bus {shapes[1]}, expected "
            f"{markets} and {seats}: a row per market, and one per seat of the orders"
        )
    return grid if orders.owners is None else grid.by_order(orders.owners)


def at(grid: GridContext, rows: Tensor) -> GridContext:
    """Return the grid of some markets [R] of the batch."""
    background_kw, reactive_kvar = grid.background_kw[rows], grid.reactive_kvar[rows]
    return replace(grid, background_kw=background_kw, reactive_kvar=reactive_kvar)


def flow(grid: GridContext, seat_kw: Tensor, start: Tensor | None = None) -> Solution:
    """Solve the background and the seats' power [B, N] together; `start` as in the solver."""
    background_kw = grid.background_kw
    injection_kw = background_kw + (seat_kw.to(background_kw) @ grid.to_bus.to(background_kw))
    return grid.solver.solve(injection_kw, grid.reactive_kvar, start)


def widened(limits: Limits, background: Solution) -> Limits:
    """Return limits [B, .] that the background's state just holds."""
    line, trafo = background.line_loading_percent, background.trafo_loading_percent
    return Limits(
        vm_min_pu=torch.minimum(limits.vm_min_pu, background.vm_pu),
        vm_max_pu=torch.maximum(limits.vm_max_pu, background.vm_pu),
        line_percent=torch.maximum(limits.line_percent, line),
        trafo_percent=torch.maximum(limits.trafo_percent, trafo),
    )


def broken(solution: Solution, limits: Limits) -> Tensor:
    """Whether a state [B] breaks a limit or was not found at all."""
    breach = violations(solution, limits)
    return breach.broken(VOLTAGE_TOLERANCE_PU, LOADING_TOLERANCE_PERCENT) | ~solution.converged


def broken_by(grid: GridContext, seat_kw: Tensor) -> tuple[Tensor, Limits]:
    """Return the markets [R] whose seats' power [B, N] breaks a limit, and their limits [R, .]."""
    loaded = flow(grid, seat_kw)
    rows = broken(loaded, grid.limits).nonzero().squeeze(1)
    if not len(rows):
        return rows, grid.limits
    limits = widened(grid.limits, flow(at(grid, rows), torch.zeros_like(seat_kw[rows])))
    worse = broken(part(loaded, rows), limits)
    return rows[worse], chosen(limits, worse)


def part(solution: Solution, rows: Tensor) -> Solution:
    """Return the states of some markets."""
    tensors = {
        field.name: getattr(solution, field.name)[rows]
        for field in fields(solution)
        if field.name != "iterations"
    }
    return Solution(iterations=solution.iterations, **tensors)


def chosen(limits: Limits, rows: Tensor) -> Limits:
    """Return the limits [B, .] of some markets."""
    return Limits(
        limits.vm_min_pu[rows],
        limits.vm_max_pu[rows],
        limits.line_percent[rows],
        limits.trafo_percent[rows],
    )
