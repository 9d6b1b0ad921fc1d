"""Charging sessions: who plugs in when, for how long, and how much energy the car wants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridbazaar.errors import DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sessions:
    """Sessions [S] of chargers [C], sorted by charger and arrival; slots count from the start.

    A car is plugged in slots arrival <= t < departure and asks for energy_kwh by its departure.
    Raises DataError where sessions overlap or ask for more than the charger can give.
    """

    charger_names: tuple[str, ...]
    charger_bus: Ints
    max_power_kw: Floats
    charger: Ints
    arrival: Ints
    departure: Ints
    energy_kwh: Floats
    slot_minutes: int

    def __post_init__(self) -> None:
        self._refuse(self.departure <= self.arrival, "departs in or before its arrival slot")
        dwell_h = (self.departure - self.arrival) * self.slot_minutes / 60
        most = self.max_power_kw[self.charger] * dwell_h
        self._refuse(self.energy_kwh > most * (1 + 1e-5), "asks for more than power times dwell")
        self._refuse(~(self.energy_kwh >= 0), "has a negative or missing energy")
        overlap = np.zeros(len(self.charger), bool)
        same = self.charger[1:] == self.charger[:-1]
        overlap[1:] = same & (self.arrival[1:] < self.departure[:-1])
        self._refuse(overlap, "starts before the last session of its charger ends")

    def first(self, chargers: int | None) -> Sessions:
        """Return the sessions of the first chargers alone; all where None."""
        mine = self.charger < (len(self.charger_names) if chargers is None else chargers)
        return Sessions(
            self.charger_names[:chargers],
            self.charger_bus[:chargers],
            self.max_power_kw[:chargers],
            self.charger[mine],
            self.arrival[mine],
            self.departure[mine],
            self.energy_kwh[mine],
            self.slot_minutes,
        )

    def _refuse(self, bad: NDArray[np.bool_], what: str) -> None:
        if bad.any():
            i = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"session {i} of {self.charger_names[self.charger[i]]!r} {what}: slots "
                f"{self.arrival[i]} to {self.departure[i]}, {self.energy_kwh[i]:.3f} kWh; "
                f"{int(bad.sum())} such sessions: correct or drop them"
            )

    def per_slot(self, slots: int) -> SessionSlots:
        """Return the dense arrays [slots, C] that a simulation reads."""
        C = len(self.charger_names)
        need = np.zeros((slots, C), np.float32)
        late = np.zeros((slots, C), np.float32)
        left = np.zeros((slots, C), np.int32)
        hours = self.slot_minutes / 60
        for c, begin, end, energy in zip(
            self.charger, self.arrival, self.departure, self.energy_kwh, strict=True
        ):
            if begin >= slots:
                continue
            stop = min(end, slots)
            need[begin, c] = energy
            left[begin:stop, c] = end - np.arange(begin, stop)
            given = self.max_power_kw[c] * hours * np.arange(stop - begin)
            late[begin:stop, c] = np.maximum(energy - given, 0)
        return SessionSlots(left > 0, need, left == 1, left, late)


@dataclass(frozen=True)
class SessionSlots:
    """Sessions as arrays [T, C] over slots and chargers.

    plugged: a car is there; need_kwh: what it asks for, in its arrival slot, else 0; departs: 1 in
    the last plugged slot; slots_left: slots until departure with this one, 0 where nobody is there;
    carried_kwh: what it would still need at the start of the slot had it charged at full power
    since arrival (the state of a day that begins with a car plugged in).
    """

    plugged: NDArray[np.bool_]
    need_kwh: Floats
    departs: NDArray[np.bool_]
    slots_left: NDArray[np.int32]
    carried_kwh: Floats


def charging_runs(power_kw: Floats, threshold_kw: float, bridge_slots: int) -> tuple[Ints, Ints]:
    """Return first slots and ends (exclusive) of the maximal runs of power above the threshold.

    Runs of one charger `power_kw` [T] that are at most `bridge_slots` apart count as one.
    """
    charging = np.concatenate([[False], power_kw > threshold_kw, [False]])
    edges = np.flatnonzero(charging[1:] != charging[:-1])
    begin, end = edges[::2], edges[1::2]
    apart = begin[1:] - end[:-1] > bridge_slots
    return begin[np.r_[True, apart][: len(begin)]], end[np.r_[apart, True][: len(end)]]


def sessions_from_profiles(
    power_kw: Floats,
    names: tuple[str, ...],
    bus: Ints,
    max_power_kw: Floats,
    dwell_slots: tuple[Ints, ...],
    slot_minutes: int,
    bridge_slots: int = 2,
) -> Sessions:
    """Return the sessions behind the charging profiles `power_kw` [T, C].

    A session is a run of charging above 1 % of the rating: it arrives in the run's first slot and
    asks for the run's energy. It stays for `dwell_slots[c][t]` (a dwell for an arrival in slot t),
    never shorter than the run and never into the next session or past the last slot.
    """
    T = len(power_kw)
    parts: list[tuple[Ints, Ints, Ints, Floats]] = []
    for c in range(len(names)):
        begin, end = charging_runs(power_kw[:, c], 0.01 * max_power_kw[c], bridge_slots)
        following = np.append(begin[1:], T)[: len(begin)]
        leave = np.minimum(np.maximum(end, begin + dwell_slots[c][begin]), following)
        total = np.concatenate([[0.0], np.cumsum(power_kw[:, c], dtype=np.float64)])
        energy = (total[end] - total[begin]) * slot_minutes / 60
        parts.append((np.full(len(begin), c), begin, leave, energy.astype(np.float32)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Sessions(
        charger_names=names,
        charger_bus=np.asarray(bus, np.int64),
        max_power_kw=np.asarray(max_power_kw, np.float32),
        charger=columns[0].astype(np.int64),
        arrival=columns[1].astype(np.int64),
        departure=columns[2].astype(np.int64),
        energy_kwh=columns[3].astype(np.float32),
        slot_minutes=slot_minutes,
    )


def no_sessions(slot_minutes: int) -> Sessions:
    """Return sessions without any charger."""
    empty = np.empty(0, np.int64)
    none = np.empty(0, np.float32)
    return Sessions((), empty, none, empty, empty, empty, none, slot_minutes)
