"""Optimum: the least a day can cost with perfect foresight, one owner and no network limits.

A linear program per day, solved by HiGHS. Batteries and cars choose their power; everything else is
given. Each seat's net power is an export x less an import m, of which the local volume L is traded
inside the community. With prices r (retail), f (feed-in) and l (local charge), an hour costs
r (sum m - L) - f (sum x - L) + l L, plus wear, unserved cars, less the worth of what is left in
store, exactly as settlement and reward count it. No bidder under any market without subsidy can
cost less, for penalties, fees and violations only add to it and its powers are a feasible point.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.observation import ROLES
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import OptimumError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Day:
    """What is given for one day, float64.

    T slots, N seats.

    Attributes:
        base_kw: [T, N] PV less load.
        need_kwh, departs: [T, N] of cars.
        prices: [T, 5] EUR/kWh, as in Community.
        energy_kwh, capacity_kwh: [N] at the start.
    """

    base_kw: Array
    need_kwh: Array
    departs: Array
    prices: Array
    energy_kwh: Array
    capacity_kwh: Array


def days_of(simulation: Simulation) -> list[Day]:
    """Return the day of every market, as a simulation that was just reset has drawn it."""
    c, T = simulation.community, simulation.slots

    def numpy(values: Tensor) -> Array:
        return values.double().cpu().numpy()

    energy, capacity = numpy(simulation.energy_kwh), numpy(simulation.capacity_kwh)
    days = []
    for b, first in enumerate(simulation.first_slot.tolist()):
        rows = slice(first, first + T)
        days.append(
            Day(
                base_kw=numpy(c.pv_kw[rows]) - numpy(c.load_kw[rows]),
                need_kwh=numpy(c.need_kwh[rows]),
                departs=numpy(c.departs[rows]),
                prices=numpy(c.prices[rows]),
                energy_kwh=energy[b],
                capacity_kwh=capacity[b],
            )
        )
    return days


class Optimum:
    """The program of one community; its matrix is built once, days change bounds and prices.

    Variables, in this order: charge, discharge, energy at the end of each slot (before departure),
    export and import, [F, T] each for the F flexible seats, and the local volume [T].

    Args:
        community: seats, limits and wear.
        unserved_price: EUR per kWh that a departing car misses.
    """

    def __init__(self, community: Community, unserved_price: float):
        c, limits = community, community.storage
        self._T, self._h, self._unserved_price = c.slots_per_day, c.slot_h, unserved_price
        charge, discharge = limits.charge_kw, limits.discharge_kw
        flexible = torch.maximum(charge, discharge) > 0
        self._seats = flexible.nonzero().squeeze(-1).cpu().numpy()
        self._fixed = (~flexible).nonzero().squeeze(-1).cpu().numpy()

        def take(values: Tensor) -> Array:
            return values.double().cpu().numpy()[self._seats][:, None]

        self._charge_kw, self._discharge_kw = take(charge), take(discharge)
        self._efficiency, self._wear = take(limits.efficiency), take(c.wear_price)
        self._floor, self._ceiling = take(limits.floor), take(limits.ceiling)
        self._lent = take(c.lent_kwh)
        self._is_ev = take((c.role == ROLES.index("ev")).double())[:, 0] > 0
        self._matrix, self._link = self._structure()

    def solve(self, day: Day) -> float:
        """Return the least cost of the day in EUR; raises OptimumError where none is found."""
        cost, constant = self.costs(day)
        low, high = self.bounds(day)
        matrix, least, most = self.balance(day)
        model = highspy.HighsLp()
        model.num_row_, model.num_col_ = matrix.shape
        model.col_cost_, model.col_lower_, model.col_upper_ = cost, low, high
        model.row_lower_, model.row_upper_ = least, most
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = matrix.indptr
        model.a_matrix_.index_ = matrix.indices
        model.a_matrix_.value_ = matrix.data
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.passModel(model)
        solver.run()
        status = solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise OptimumError(
                f"no optimum: HiGHS reports {solver.modelStatusToString(status)!r}; the day's data "
                "break a device's limits (look at energy, capacity and need of the cars)"
            )
        return float(solver.getInfo().objective_function_value) + constant

    def costs(self, day: Day) -> tuple[Array, float]:
        """Return the price of each variable, and what the day costs besides."""
        F, T, h = len(self._seats), self._T, self._h
        retail, feed_in, local, battery_worth, car_worth = day.prices.T
        capacity, departing = self._sessions(day)[0], day.departs[:, self._seats].T > 0
        from_battery = battery_worth[-1] * self._efficiency[:, 0]
        worth = np.where(self._is_ev, car_worth[-1], from_battery)

        # A departing car costs (capacity - energy) x price; what stays is worth something.
        stays = ~departing[:, -1]
        energy = np.where(departing, -self._unserved_price, 0.0)
        energy[:, -1] -= worth * stays
        constant = (capacity * departing).sum() * self._unserved_price
        wanted = np.where(self._is_ev, capacity[:, -1] * stays, 0.0)
        initial = np.where(self._is_ev, 0.0, day.energy_kwh[self._seats])
        constant += ((wanted + initial) * worth).sum()

        exported, imported = self._given(day)
        constant += ((imported * retail - exported * feed_in) * h).sum()
        variables = [
            np.zeros((F, T)),
            np.broadcast_to(self._wear * h, (F, T)),
            energy,
            np.broadcast_to(-feed_in * h, (F, T)),
            np.broadcast_to(retail * h, (F, T)),
            (local - retail + feed_in) * h,
        ]
        return np.concatenate([v.ravel() for v in variables]), float(constant)

    def bounds(self, day: Day) -> tuple[Array, Array]:
        """Return the least and the greatest value of each variable."""
        F, T = len(self._seats), self._T
        capacity, start, _ = self._sessions(day)
        # What starts outside its band, a car that comes with less than its floor, may stay there.
        floor = np.minimum(self._floor * capacity, start)
        ceiling = np.maximum(self._ceiling * capacity, start)
        plugged = capacity > 0
        low = [np.zeros(2 * F * T), floor.ravel(), np.zeros((2 * F + 1) * T)]
        high = [
            (self._charge_kw * plugged).ravel(),
            (self._discharge_kw * plugged).ravel(),
            ceiling.ravel(),
            np.full((2 * F + 1) * T, np.inf),
        ]
        return np.concatenate(low), np.concatenate(high)

    def balance(self, day: Day) -> tuple[sparse.csc_matrix, Array, Array]:
        """Return the matrix of the rows, and what each row must lie between.

        Rows: stored energy [F, T], net power [F, T], local volume within exports [T] and within
        imports [T].
        """
        _, start, linked = self._sessions(day)
        matrix = self._matrix.copy()
        matrix.data[self._link] = -linked[:, 1:].ravel().astype(float)
        exported, imported = self._given(day)
        before = np.where(linked, 0.0, start)
        fixed = np.concatenate([before.ravel(), day.base_kw[:, self._seats].T.ravel()])
        most = np.concatenate([fixed, exported, imported])
        least = np.concatenate([fixed, np.full(2 * self._T, -np.inf)])
        return matrix, least, most

    def _given(self, day: Day) -> tuple[Array, Array]:
        """Return exports and imports [T] of the seats that cannot choose, kW each."""
        given = day.base_kw[:, self._fixed]
        return given.clip(min=0).sum(1), (-given).clip(min=0).sum(1)

    def _sessions(self, day: Day) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Return what holds in each slot, [F, T] each.

        Returns:
            capacity in kWh; energy with which the storage present began; whether the energy of the
            slot before is carried over.
        """
        T, seats = self._T, self._seats
        capacity, start = np.empty((2, len(seats), T))
        linked = np.zeros((len(seats), T), bool)
        here, began = day.capacity_kwh[seats], day.energy_kwh[seats]
        for t in range(T):
            if t > 0:
                left, need = day.departs[t - 1, seats] > 0, day.need_kwh[t, seats]
                came = need > 0
                here = np.where(came, self._lent[:, 0] + need, np.where(left, 0.0, here))
                began = np.where(came, self._lent[:, 0], np.where(left, 0.0, began))
                linked[:, t] = ~(left | came)
            capacity[:, t], start[:, t] = here, began
        return capacity, start, linked

    def _structure(self) -> tuple[sparse.csc_matrix, NDArray[np.int64]]:
        """Return the matrix, and where in its data the links to the slot before stand."""
        F, T, h = len(self._seats), self._T, self._h
        size = F * T
        slot = np.arange(size)
        charge, discharge, energy, export, imported = (slot + k * size for k in range(5))
        local, t = 5 * size + np.arange(T), slot % T
        stored, net, within = slot, size + slot, 2 * size + np.arange(T)
        later = slot.reshape(F, T)[:, 1:].ravel()
        one = np.ones(size)
        efficiency = np.broadcast_to(self._efficiency, (F, T)).ravel()
        entries = [
            (later, energy[later] - 1, -np.ones(len(later))),
            (stored, energy, one),
            (stored, charge, -efficiency * h),
            (stored, discharge, h / efficiency),
            (net, export, one),
            (net, imported, -one),
            (net, charge, one),
            (net, discharge, -one),
            (within, local, np.ones(T)),
            (within[t], export, -one),
            (within + T, local, np.ones(T)),
            (within[t] + T, imported, -one),
        ]
        row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
        number = np.arange(1, len(value) + 1)
        shape = (2 * size + 2 * T, 5 * size + T)
        matrix = sparse.coo_matrix((number, (row, column)), shape).tocsc()
        order = matrix.data - 1
        link = np.empty(len(value), np.int64)
        link[order] = np.arange(len(value))
        return sparse.csc_matrix((value[order], matrix.indices, matrix.indptr), shape), link[
            : len(later)
        ]
