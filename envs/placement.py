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
from gridbazaar.errors import DataError

Array = NDArray[np.float32]


def load_grid_and_series(task: TaskConfig) -> tuple[Any, Series]:
    """Return the net and the series; homes and chargers of another source fill its loads in turn.

    Raises UnknownNameError for a grid that its source does not have, with the nearest one, and
    DataError for data that cannot be used.
    """
    feeder, data = task.feeder, task.data
    if isinstance(data, UserData):
        return _on_feeder(feeder, user_series(data))
    grid, profiles = load_grid(data.code)
    series = series_from_grid(grid, profiles, task.seed)
    if feeder.source == "simbench" and feeder.code == data.code:
        return grid, series
    return _on_feeder(feeder, series)


def _on_feeder(feeder: FeederConfig, series: Series) -> tuple[Any, Series]:
    simbench = feeder.source == "simbench"
    net = load_grid(feeder.code)[0] if simbench else load_net(feeder.source, feeder.code)
    return net, seat_on(net, series)


def seat_on(net: Any, series: Series) -> Series:
    """Return the series with homes and chargers on the net's load buses, one after the other.

    They are part of what the net's load table says of their bus: what the highest consumption of
    its homes leaves of a bus's rating becomes background, with the daily course of the mean home
    (1 at its peak). So a market on a large feeder meets the voltages that the others cause, and a
    small feeder is not loaded twice. What else the series' own grid carried stays behind: it has no
    place on another feeder. Raises DataError for a net without loads.
    """
    bus, p_kw, q_kvar = _rated(net)
    H = len(series.home_names)
    home = np.arange(H) % len(bus)
    seated_kw = np.bincount(home, series.load_kw.max(axis=0), len(bus))
    left = np.clip(1 - seated_kw / p_kw.clip(min=1e-9), 0, 1)
    rest = np.flatnonzero(left)
    mean_kw = series.load_kw.mean(axis=1)
    course = (mean_kw / mean_kw.max())[:, None]
    chargers = np.arange(len(series.sessions.charger_bus)) % len(bus)
    return replace(
        series,
        home_bus=bus[home],
        sessions=replace(series.sessions, charger_bus=bus[chargers]),
        background_bus=bus[rest],
        background_p_kw=_float32(-course * (left * p_kw)[rest]),
        background_q_kvar=_float32(-course * (left * q_kvar)[rest]),
    )


def _rated(net: Any) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the load buses [n], ascending, with the sums of their loads in kW and kvar."""
    load = net.load[net.load.in_service]
    if load.empty:
        raise DataError(f"feeder {net.name!r} has no load in service, so no place for a home")
    bus, at = np.unique(load.bus.to_numpy(np.int64), return_inverse=True)
    p_kw, q_kvar = np.zeros((2, len(bus)))
    np.add.at(p_kw, at, 1e3 * (load.p_mw * load.scaling).to_numpy(np.float64))
    np.add.at(q_kvar, at, 1e3 * (load.q_mvar * load.scaling).to_numpy(np.float64))
    return bus, p_kw, q_kvar


def _float32(values: NDArray[np.float64]) -> Array:
    return np.ascontiguousarray(values, np.float32)
