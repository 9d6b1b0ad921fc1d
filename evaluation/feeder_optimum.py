"""Optimum within a feeder's limits: the linear program with limits as rows, held to the AC flow.

Where the AC power flow of a plan breaks a limit, the limit's tangent at that state joins the
program (exact derivatives of voltages and loadings, `LimitRows`), and the day is solved again,
until the AC power flow of the plan costs what the program says. The depth by which a limit is
broken is a variable at the task's own price of it (`task.rules.limits`), so that there always is a
plan: a limit holds where that is cheaper than to break it. A tangent stays until a plan shows that
it says too much. What the last program says is a bound to first order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from gridbazaar.envs.delivery import violation_cost
from gridbazaar.envs.grid.limits import (
    LOADING_TOLERANCE_PERCENT,
    VOLTAGE_TOLERANCE_PU,
    Limits,
    violations,
)
from gridbazaar.envs.grid.power_flow import PowerFlow
from gridbazaar.envs.markets import GridContext
from gridbazaar.envs.markets.network.limit_rows import LimitRows
from gridbazaar.envs.markets.network.trade_limits import flow
from gridbazaar.envs.simulation import Simulation
from gridbazaar.evaluation.given_days import Day
from gridbazaar.evaluation.optimum import Optimum, Plan, Program

Array = NDArray[np.float64]
# Programs and power flows at most, and what the two may differ by, EUR a day.
ROUNDS, GAP_EUR = 15, 1e-3


@dataclass(frozen=True)
class FeederPlan:
    """What a day came to within the feeder's limits.

    Attributes:
        plan: devices' power.
        cost_eur: what it costs, limits that its AC power flow breaks included.
        violation_eur: of it, the price of those limits.
        bound_eur: what the last program says that no plan costs less than.
        rounds: power flows that it took.
        broken: in how many slots the plan breaks a limit, by the limit's name.
        alone: likewise without any device of the seats.
    """

    plan: Plan
    cost_eur: float
    violation_eur: float
    bound_eur: float
    rounds: int
    broken: Counter[str]
    alone: Counter[str]

    @property
    def settled(self) -> bool:
        """Return whether program and power flow agree; else the plan is the best that was met."""
        return abs(self.cost_eur - self.bound_eur) <= GAP_EUR


class _Tangent(NamedTuple):
    """A limit near a state: it is broken by effect [N] @ net power - room, in p.u. or percent."""

    effect: Array
    room: float

    def depth(self, net_kw: Array) -> float:
        return max(float(self.effect @ net_kw) - self.room, 0.0)


# By slot and number of the limit; a branch has one, whichever way the current flows.
_Tangents = dict[tuple[int, int], list[_Tangent]]


class FeederOptimum:
    """The optimum's program with the limits of a simulation's feeder.

    Args:
        optimum: the program without limits.
        simulation: whose feeder and prices of broken limits to take.
    """

    def __init__(self, optimum: Optimum, simulation: Simulation):
        self._optimum, self._rules = optimum, simulation.rules.limits
        c = simulation.community.to("cpu", torch.float64)
        self._background, self._reactive, self._slot_h = c.bus_p_kw, c.bus_q_kvar, c.slot_h
        known = simulation.delivery.grid_context(c.bus_p_kw[:0], c.bus_q_kvar[:0])
        network, buses = known.solver.network, known.solver.injection_buses
        self._grid = replace(
            known,
            solver=PowerFlow(network, buses, dtype=torch.float64),
            limits=Limits(*(bound.double().cpu() for bound in vars(known.limits).values())),
            to_bus=known.to_bus.double().cpu(),
        )
        branches = [
            *(f"line {n}" for n in network.lines),
            *(f"transformer {n}" for n in network.trafos),
        ]
        volts = [f"{way} voltage at bus {n}" for way in ("high", "low") for n in network.buses]
        self._names, self._voltages = (*volts, *branches), len(volts)
        self._tolerance = np.full(len(self._names), LOADING_TOLERANCE_PERCENT)
        self._tolerance[: self._voltages] = VOLTAGE_TOLERANCE_PU
        price = np.full(len(self._names), self._rules.loading_price)
        price[: self._voltages] = self._rules.voltage_price
        self._price = price * self._slot_h

    def solve(self, day: Day, first_slot: int, plan: Plan | None = None) -> FeederPlan:
        """Return how a day costs least within the limits, or beyond them at the task's prices.

        Args:
            day: what is given.
            first_slot: of the day in the data.
            plan: the optimum without limits, where it is known.

        Raises:
            OptimumError: no plan was found.
        """
        plan = self._optimum.solve(day) if plan is None else plan
        grid, program = self._at(first_slot, len(day.base_kw)), self._optimum.program(day)
        rows = LimitRows.of(grid, _expanded(grid.limits, len(day.base_kw)))
        tangents: _Tangents = {}
        best: FeederPlan | None = None
        for count in range(1, ROUNDS + 1):
            net_kw = day.base_kw + plan.power_kw.sum(-1)
            excess, slopes, violation_eur = self._flow(grid, rows, net_kw, tangents)
            cost = plan.cost_eur - self._foreseen(tangents, net_kw) + violation_eur
            if best is None or cost < best.cost_eur:
                named = self._named(excess)
                best = FeederPlan(plan, cost, violation_eur, plan.cost_eur, count, named, named)
            best = replace(best, bound_eur=plan.cost_eur, rounds=count)
            if abs(cost - plan.cost_eur) <= GAP_EUR:
                break
            at_kw = net_kw
            if count == 1:  # a plan that knows no limits may swing far from where they are met
                at_kw = day.base_kw
                excess, slopes, _ = self._flow(grid, rows, at_kw, {key: [] for key in slopes})
            for (t, k), effect in slopes.items():
                tangent = _Tangent(effect, float(effect @ at_kw[t] - excess[t, k]))
                most = max(excess[t, k], 0.0) + self._tolerance[k]
                true = [each for each in tangents.get((t, k), []) if each.depth(at_kw[t]) <= most]
                tangents[t, k] = [*true, tangent]
            plan = self._optimum.plan(self._limited(program, day, tangents), day)
        assert best is not None
        idle, _, _ = self._flow(grid, rows, day.base_kw, {})
        return replace(best, alone=self._named(idle))

    def breaks(self, day: Day, first_slot: int, plan: Plan) -> bool:
        """Return whether the AC power flow of a plan breaks a limit."""
        grid, net_kw = self._at(first_slot, len(day.base_kw)), day.base_kw + plan.power_kw.sum(-1)
        broken = violations(flow(grid, torch.as_tensor(net_kw)), grid.limits)
        return bool(broken.broken(VOLTAGE_TOLERANCE_PU, LOADING_TOLERANCE_PERCENT).any())

    def _at(self, first_slot: int, slots: int) -> GridContext:
        """Return the feeder in each of a day's slots."""
        row = slice(first_slot, first_slot + slots)
        return replace(
            self._grid, background_kw=self._background[row], reactive_kvar=self._reactive[row]
        )

    def _flow(
        self, grid: GridContext, rows: LimitRows, net_kw: Array, tangents: _Tangents
    ) -> tuple[Array, dict[tuple[int, int], Array], float]:
        """Let the seats' power [T, N] flow.

        Returns:
            by how much each limit is broken [T, limits], below zero where it is not; the effects
            [N] of the seats, by slot and limit, on those that are or were; and the price.
        """
        seat_kw = torch.as_tensor(net_kw)
        solution = flow(grid, seat_kw)
        broken = violations(solution, grid.limits)
        price = violation_cost(broken, solution.converged, self._rules, self._slot_h)
        excess = rows.state(grid, solution, seat_kw) - rows.ceiling
        live = (excess > rows.unit).numpy()
        for t, k in tangents:
            other = k if k < self._voltages else k + len(self._names) - self._voltages
            live[t, k if excess[t, k] > excess[t, other] else other] = True
        at = [np.flatnonzero(slot) for slot in live]
        index = torch.zeros(len(at), max(map(len, at)), dtype=torch.int64)
        for t, limits in enumerate(at):
            index[t, : len(limits)] = torch.as_tensor(limits)
        effects = rows.slopes(grid, solution, seat_kw, index).numpy()
        slopes = {
            (t, self._limit(k)): effects[t, i]
            for t, limits in enumerate(at)
            for i, k in enumerate(limits.tolist())
        }
        return self._either_way(excess.numpy()), slopes, float(price.sum())

    def _limit(self, row: int) -> int:
        """Return the limit of a row: branches have a row for either way."""
        return row if row < len(self._names) else row - (len(self._names) - self._voltages)

    def _either_way(self, excess: Array) -> Array:
        """Return by how much limits are broken [T, limits] from what rows are, [T, K]."""
        volts, branches = np.split(excess, [self._voltages], 1)
        return np.concatenate([volts, np.maximum(*np.split(branches, 2, 1))], 1)

    def _named(self, excess: Array) -> Counter[str]:
        """Count the slots in which each limit is broken, by name."""
        slots = (excess > self._tolerance).sum(0)
        found: Counter[str] = Counter()
        for k in np.flatnonzero(slots):
            found[self._names[k]] += int(slots[k])
        return found

    def _foreseen(self, tangents: _Tangents, net_kw: Array) -> float:
        """Return the price of what a program takes its own plan to break."""
        return sum(
            float(self._price[k]) * max(tangent.depth(net_kw[t]) for tangent in known)
            for (t, k), known in tangents.items()
        )

    def _limited(self, program: Program, day: Day, tangents: _Tangents) -> Program:
        """Append a row per tangent, and per limit and slot the depth by which it is broken."""
        seats, (export, imported) = self._optimum.net_columns()
        depths, width = len(tangents), program.matrix.shape[1]
        row: list[Array] = []
        column: list[Array] = []
        value: list[Array] = []
        room: list[float] = []
        for depth, ((t, _), known) in enumerate(tangents.items()):
            for tangent in known:
                effect, number = tangent.effect[seats], len(room)
                row.append(np.full(2 * len(seats) + 1, number))
                column.append(np.concatenate([export[:, t], imported[:, t], [width + depth]]))
                value.append(np.concatenate([effect, -effect, [-1.0]]))
                given = np.delete(tangent.effect, seats) @ np.delete(day.base_kw[t], seats)
                room.append(tangent.room - given)
        shape = (len(room), width + depths)
        entries = np.concatenate(value), (np.concatenate(row), np.concatenate(column))
        appended = sparse.csc_matrix(entries, shape)
        wide = sparse.hstack([program.matrix, sparse.csc_matrix((len(program.most), depths))])
        return Program(
            cost=np.concatenate([program.cost, [self._price[k] for _, k in tangents]]),
            constant=program.constant,
            low=np.concatenate([program.low, np.zeros(depths)]),
            high=np.concatenate([program.high, np.full(depths, np.inf)]),
            matrix=sparse.vstack([wide, appended]).tocsc(),
            least=np.concatenate([program.least, np.full(len(room), -np.inf)]),
            most=np.concatenate([program.most, room]),
        )


def _expanded(limits: Limits, slots: int) -> Limits:
    """Return the limits of every slot, [T, .] each."""
    return Limits(*(bound.expand(slots, -1) for bound in vars(limits).values()))


def said(plans: Sequence[FeederPlan]) -> str:
    """Return in a line what limits days break even in the optimum within them."""
    open_days = sum(not plan.settled for plan in plans)
    left = f"; {open_days} days are not settled after {ROUNDS} rounds" if open_days else ""
    broken = sum((plan.broken for plan in plans), Counter[str]())
    alone = sum((plan.alone for plan in plans), Counter[str]())
    cost = sum(plan.violation_eur for plan in plans) / len(plans)
    if not broken or cost < GAP_EUR:
        return f"the optimum within the feeder's limits keeps them on all {len(plans)} days{left}"
    limits = ", ".join(
        f"{name} in {slots} ({alone[name]} without any device)"
        for name, slots in broken.most_common()
    )
    return (
        f"the optimum within the feeder's limits breaks some where keeping them costs more than "
        f"their price, for {cost:.2f} a day; intervals on {len(plans)} days: {limits}{left}"
    )
