"""Optimum: the least a day can cost with perfect foresight, one owner and no network limits.

A linear program per day, solved by HiGHS. Devices choose their power within what their profile of
the day allows (`gridbazaar.envs.devices`); everything else is given. Each seat's net power is an
export x less an import m, of which the local volume L is traded inside the community. With prices r
(retail), f (feed-in) and l (local charge), an hour costs r (sum m - L) - f (sum x - L) + l L, plus
wear, unserved cars, less the worth of what is left in store, exactly as settlement and reward count
it. No bidder under any market without subsidy can cost less, for penalties, fees and violations
only add to it and its powers are a feasible point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import highspy
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from gridbazaar.envs.community import Community
from gridbazaar.envs.settlement import imbalance_prices
from gridbazaar.errors import OptimumError
from gridbazaar.evaluation.given_days import Day, by_seat

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """What a day's linear program came to.

    Attributes:
        cost_eur: of the community.
        power_kw: [T, N, K] of the devices, positive where they give.
        worth: [T, N, K] EUR per kWh that more content in a slot would save.
        basis: from which a program that differs little is solved sooner.
    """

    cost_eur: float
    power_kw: Array
    worth: Array
    basis: highspy.HighsBasis


class Program(NamedTuple):
    """A day's linear program, with what the day costs besides.

    Least cost @ x + constant with low <= x <= high and least <= matrix @ x <= most.
    """

    cost: Array
    constant: float
    low: Array
    high: Array
    matrix: sparse.csc_matrix
    least: Array
    most: Array


_GAVE_UP = (highspy.HighsModelStatus.kUnknown, highspy.HighsModelStatus.kSolveError)
_WHY_GAVE_UP = "the solver gave up; report the day and the task"
_WHY_NONE = "the day's data break a device's limits (look at energy, capacity and need of the cars)"


def _run(solver: highspy.Highs) -> highspy.HighsModelStatus:
    """Solve, and where the simplex gives up on its way from a basis, anew; then by another way."""
    solver.run()
    for method in ("simplex", "ipm"):
        if solver.getModelStatus() not in _GAVE_UP:
            break
        solver.clearSolver()
        solver.setOptionValue("solver", method)
        solver.run()
    return solver.getModelStatus()


class Optimum:
    """The program of one community; its matrix is built once, days change bounds and prices.

    Variables, in this order: charge, discharge, energy at the end of each slot (before departure),
    [U, T] each for the U units, export and import, [F, T] each for the F seats that own one, and
    the local volume [T].

    Args:
        community: seats and devices.
        unserved_price: EUR per kWh that a departing car misses.

    Attributes:
        least_feed_in: EUR/kWh, 0 or less: above it nothing is gained by charging and discharging at
            once, for a kWh that is lost so costs more wear than the grid charges to take it.
    """

    def __init__(self, community: Community, unserved_price: float):
        c = community.to("cpu", torch.float64)
        self._T, self._h, self._unserved_price = c.slots_per_day, c.slot_h, unserved_price
        kinds, order = c.fleet.kinds.values(), by_seat(c)
        self._place, self._shape = c.fleet.place[order].numpy(), tuple(c.fleet.rated_kw.shape)

        def of_units(name: str) -> Array:
            return torch.cat([getattr(d, name) for d in kinds])[order].numpy()

        owner = of_units("seat")
        self._seats, self._owner = np.unique(owner, return_inverse=True)
        self._fixed = np.setdiff1d(np.arange(len(c.seats)), self._seats)
        self._efficiency, self._wear = of_units("efficiency"), of_units("wear_price")
        both = (of_units("export_kw") > 0) & (self._efficiency < 1)
        lost = 1 / self._efficiency[both] ** 2 - 1  # kWh per kWh given
        self.least_feed_in = -float((self._wear[both] / lost).min(initial=np.inf))
        self._matrix, self._link = self._structure()

    def solve(self, day: Day, basis: highspy.HighsBasis | None = None) -> Plan:
        """Return how the day costs least; raises OptimumError where nothing is found.

        `basis` is a similar day's, see Plan.
        """
        return self.plan(self.program(day), day, basis)

    def program(self, day: Day) -> Program:
        """Return the program of a day."""
        return Program(*self.costs(day), *self.bounds(day), *self.balance(day))

    def plan(self, program: Program, day: Day, basis: highspy.HighsBasis | None = None) -> Plan:
        """Return the solution of a day's program, to which rows and variables may be appended.

        Raises OptimumError where there is none.
        """
        model = highspy.HighsLp()
        model.num_row_, model.num_col_ = program.matrix.shape
        model.col_cost_, model.col_lower_, model.col_upper_ = (
            program.cost,
            program.low,
            program.high,
        )
        model.row_lower_, model.row_upper_ = program.least, program.most
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = program.matrix.indptr
        model.a_matrix_.index_ = program.matrix.indices
        model.a_matrix_.value_ = program.matrix.data
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.passModel(model)
        if basis is not None:
            solver.setBasis(basis)
        status = _run(solver)
        if status != highspy.HighsModelStatus.kOptimal:
            why = _WHY_GAVE_UP if status in _GAVE_UP else _WHY_NONE
            raise OptimumError(
                f"no optimum: HiGHS reports {solver.modelStatusToString(status)!r}; {why}"
            )
        solution, units = solver.getSolution(), day.units.floor_kwh.shape
        value = np.array(solution.col_value[: 2 * len(self._owner) * self._T])
        charge, discharge = value.reshape(2, *units)
        # A stored kWh more stands on the right-hand side of the slot's row.
        saved = -np.array(solution.row_dual[: len(self._owner) * self._T]).reshape(units)
        return Plan(
            cost_eur=float(solver.getInfo().objective_function_value) + program.constant,
            power_kw=self._by_slot((discharge - charge).T),
            worth=self._by_slot(saved.T),
            basis=solver.getBasis(),
        )

    def net_columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the seats [F] that can choose, and where their export and import stand, [2, F, T].

        A seat's net power is the one less the other.
        """
        F, first = len(self._seats), 3 * len(self._owner) * self._T
        columns = first + np.arange(2 * F * self._T, dtype=np.int64)
        return self._seats.astype(np.int64), columns.reshape(2, F, self._T)

    def _by_slot(self, values: Array) -> Array:
        """Lay values of units, by seat, [..., U] out as [..., N, K]; zero where no device is."""
        laid = np.zeros((*values.shape[:-1], self._shape[0] * self._shape[1]))
        laid[..., self._place] = values
        return laid.reshape(*values.shape[:-1], *self._shape)

    def costs(self, day: Day) -> tuple[Array, float]:
        """Return the price of each variable, and what the day costs besides."""
        U, F, T, h = len(self._owner), len(self._seats), self._T, self._h
        local = day.prices.local_charge
        surplus_price, shortage_price = imbalance_prices(day.prices)
        units = day.units
        due: NDArray[np.bool_] = units.due > 0

        # A departing car costs (target - energy) x price; what stays is worth something.
        stays = ~due[:, -1]
        energy = np.where(due, -self._unserved_price, 0.0)
        energy[:, -1] -= units.end_worth * stays
        constant = (units.target_kwh * due).sum() * self._unserved_price
        constant += (units.reference_kwh * units.end_worth).sum()

        exported, imported = self._given(day)
        constant += ((imported * shortage_price - exported * surplus_price) * h).sum()
        variables: list[Array] = [
            np.zeros((U, T)),
            np.broadcast_to(self._wear[:, None] * h, (U, T)),
            energy,
            np.broadcast_to(-surplus_price * h, (F, T)),
            np.broadcast_to(shortage_price * h, (F, T)),
            (local - shortage_price + surplus_price) * h,
        ]
        return np.concatenate([v.ravel() for v in variables]), float(constant)

    def bounds(self, day: Day) -> tuple[Array, Array]:
        """Return the least and the greatest value of each variable."""
        units, free = day.units, (2 * len(self._seats) + 1) * self._T
        none = np.zeros(2 * units.floor_kwh.size)
        low = [none, units.floor_kwh.ravel(), np.zeros(free)]
        high = [units.import_kw, units.export_kw, units.ceiling_kwh, np.full(free, np.inf)]
        return np.concatenate(low), np.concatenate([part.ravel() for part in high])

    def balance(self, day: Day) -> tuple[sparse.csc_matrix, Array, Array]:
        """Return the matrix of the rows, and what each row must lie between.

        Rows: stored energy [U, T], net power [F, T], local volume within exports [T] and within
        imports [T].
        """
        matrix = self._matrix.copy()
        matrix.data[self._link] = -day.units.carried[:, 1:].ravel()
        exported, imported = self._given(day)
        base_kw = day.base_kw[:, self._seats].T
        fixed = np.concatenate([day.units.brought_kwh.ravel(), base_kw.ravel()])
        most = np.concatenate([fixed, exported, imported])
        least = np.concatenate([fixed, np.full(2 * self._T, -np.inf)])
        return matrix, least, most

    def _given(self, day: Day) -> tuple[Array, Array]:
        """Return exports and imports [T] of the seats that cannot choose, kW each."""
        given = day.base_kw[:, self._fixed]
        return given.clip(min=0).sum(1), (-given).clip(min=0).sum(1)

    def _structure(self) -> tuple[sparse.csc_matrix, NDArray[np.int64]]:
        """Return the matrix, and where in its data the links to the slot before stand."""
        U, F, T, h = len(self._owner), len(self._seats), self._T, self._h
        unit, seat = np.arange(U * T), np.arange(F * T)
        charge, discharge, energy = (unit + k * U * T for k in range(3))
        export, imported = (3 * U * T + k * F * T + seat for k in range(2))
        local = 3 * U * T + 2 * F * T + np.arange(T)
        stored, within = unit, (U + F) * T + np.arange(T)
        net, owner = U * T + seat, U * T + np.repeat(self._owner, T) * T + unit % T
        later = unit.reshape(U, T)[:, 1:].ravel()
        efficiency = np.repeat(self._efficiency, T)
        one, each = np.ones(U * T), np.ones(F * T)
        entries = [
            (later, energy[later] - 1, -np.ones(len(later))),
            (stored, energy, one),
            (stored, charge, -efficiency * h),
            (stored, discharge, h / efficiency),
            (net, export, each),
            (net, imported, -each),
            (owner, charge, one),
            (owner, discharge, -one),
            (within, local, np.ones(T)),
            (within[seat % T], export, -each),
            (within + T, local, np.ones(T)),
            (within[seat % T] + T, imported, -each),
        ]
        row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
        number = np.arange(1, len(value) + 1)
        shape = ((U + F + 2) * T, 3 * U * T + (2 * F + 1) * T)
        matrix = sparse.coo_matrix((number, (row, column)), shape).tocsc()
        order = matrix.data - 1
        link = np.empty(len(value), np.int64)
        link[order] = np.arange(len(value))
        return sparse.csc_matrix((value[order], matrix.indices, matrix.indptr), shape), link[
            : len(later)
        ]
