"""Placement of a task: its pandapower net, and the series of those who sit on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridbazaar.envs.config import FeederConfig, TaskConfig
from gridbazaar.envs.data.series import Series
from gridbazaar.envs.data.simbench import load_grid
from gridbazaar.envs.data.simbench_series import series_from_grid
from gridbazaar.envs.data.user_series import UserData, user_series
from gridbazaar.envs.grid.catalogue import load_net
from gridbazaar.envs.grid.rated import Generation, Rated, rated_generation, rated_loads
from gridbazaar.errors import DataError

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def load_grid_and_series(task: TaskConfig) -> tuple[Any, Series]:
    """Return the net and the series; homes and chargers of another source fill its loads in turn.

    Raises UnknownNameError for a grid that its source does not have, with the nearest one, and
    DataError for data that cannot be used.
    """
    feeder, data = task.feeder, task.data
    if isinstance(data, UserData):
        return _on_feeder(feeder, user_series(data))
    grid, profiles = load_grid(data.code)
    series = series_from_grid(grid, profiles, task.seed).first(data.homes, data.chargers)
    if feeder.source == "simbench" and feeder.code == data.code:
        return grid, series
    return _on_feeder(feeder, series)


def _on_feeder(feeder: FeederConfig, series: Series) -> tuple[Any, Series]:
    simbench = feeder.source == "simbench"
    net = load_grid(feeder.code)[0] if simbench else load_net(feeder.source, feeder.code)
    return net, seat_on(net, series, feeder.generation)


def seat_on(net: Any, series: Series, generation: Generation = "by_type") -> Series:
    """Return the series with homes and chargers on the net's load buses, one after the other.

    They are part of what the net's loads say of their bus: what the highest consumption of its
    homes leaves of a bus's rating becomes background, with the daily course of the mean home (1 at
    its peak). So a market on a large feeder meets the voltages that the others cause, and a small
    feeder is not loaded twice. The net's generators are background too, at their rating or with the
    course of the mean sun, as `generation` says. What else the series' own grid carried stays
    behind: it has no place on another feeder.

    Raises:
        DataError: a net without loads, or with generators that follow a sun the data do not have.
        NetworkError: as `rated_generation`.
    """
    loads = rated_loads(net)
    bus, p_kw, q_kvar = _by_bus(loads.where(loads.p_kw >= 0))
    if not len(bus):
        raise DataError(f"feeder {net.name!r} has no load in service, so no place for a home")
    H = len(series.home_names)
    home = np.arange(H) % len(bus)
    seated_kw = np.bincount(home, series.load_kw.max(axis=0), len(bus))
    left = np.clip(1 - seated_kw / p_kw.clip(min=1e-9), 0, 1)
    rest = np.flatnonzero(left)
    mean_kw = series.load_kw.mean(axis=1)
    course = (mean_kw / mean_kw.max())[:, None]
    chargers = np.arange(len(series.sessions.charger_bus)) % len(bus)
    seated = replace(
        series,
        home_bus=bus[home],
        sessions=replace(series.sessions, charger_bus=bus[chargers]),
        background_bus=bus[rest],
        background_p_kw=_float32(-course * (left * p_kw)[rest]),
        background_q_kvar=_float32(-course * (left * q_kvar)[rest]),
        heat_pumps=None,
    )
    return _with_generation(seated, rated_generation(net, generation), net.name)


def _with_generation(series: Series, rated: Rated, feeder: str) -> Series:
    """Return the series with generators in its background."""
    sun = series.pv_per_kwp.mean(axis=1)
    if rated.sun.any() and not sun.any():
        raise DataError(
            f"feeder {feeder!r} has {rated.sun.sum()} generators that follow the sun, but the data "
            "have none; add a PV file, or set feeder.generation to constant or left_out"
        )
    for chosen, course in ((rated.sun, sun), (~rated.sun, np.ones_like(sun))):
        bus, p_kw, q_kvar = _by_bus(rated.where(chosen))
        if len(bus):
            series = _joined(series, bus, course[:, None] * p_kw, course[:, None] * q_kvar)
    return series


def _joined(series: Series, bus: Ints, p_kw: Floats, q_kvar: Floats) -> Series:
    """Return the series with injections [T, n] at further buses [n]."""
    buses = np.union1d(series.background_bus, bus)
    total = np.zeros((2, len(p_kw), len(buses)))
    for at, powers in (
        (series.background_bus, (series.background_p_kw, series.background_q_kvar)),
        (bus, (p_kw, q_kvar)),
    ):
        total[..., np.searchsorted(buses, at)] += np.stack(powers)
    return replace(
        series,
        background_bus=buses,
        background_p_kw=_float32(total[0]),
        background_q_kvar=_float32(total[1]),
    )


def _by_bus(rated: Rated) -> tuple[Ints, Floats, Floats]:
    """Return the buses [n], ascending, with the sums in kW and kvar of what stands there."""
    bus, at = np.unique(rated.bus, return_inverse=True)
    p_kw, q_kvar = np.zeros((2, len(bus)))
    np.add.at(p_kw, at, rated.p_kw)
    np.add.at(q_kvar, at, rated.q_kvar)
    return bus, p_kw, q_kvar


def _float32(values: Floats) -> Array:
    return np.ascontiguousarray(values, np.float32)
