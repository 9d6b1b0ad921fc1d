"""The pandapower net of a task and the series of those who sit on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.config import TaskConfig
from envs.data.series import Series
from envs.data.simbench import load_grid
from envs.data.simbench_series import series_from_grid
from envs.data.user_series import UserData, user_series
from envs.feeder.catalogue import load_net


def load_grid_and_series(task: TaskConfig) -> tuple[Any, Series]:
    """Return the net and the series, seated on its load buses where they come from elsewhere."""
    feeder, data = task.feeder, task.data
    if isinstance(data, UserData):
        net = load_grid(feeder.code)[0] if feeder.source == "simbench" else _network(feeder.code)
        return net, _seated(user_series(data), net)
    grid, profiles = load_grid(data.code)
    series = series_from_grid(grid, profiles, task.seed)
    if feeder.source == "simbench" and feeder.code == data.code:
        return grid, series
    net = load_grid(feeder.code)[0] if feeder.source == "simbench" else _network(feeder.code)
    return net, _seated(series, net)


def _network(code: str) -> Any:
    return load_net("pandapower", code)


def _seated(series: Series, net: Any) -> Series:
    """Return the series with homes and chargers on the net's load buses, one after the other.

    What else the series' own grid carried stays behind: it has no place on another feeder.
    """
    buses: NDArray[np.int64] = np.unique(net.load.bus[net.load.in_service].to_numpy(np.int64))
    T, H = series.load_kw.shape
    chargers = len(series.sessions.charger_bus)
    nothing = np.zeros((T, 0), np.float32)
    return replace(
        series,
        home_bus=buses[np.arange(H) % len(buses)],
        sessions=replace(series.sessions, charger_bus=buses[np.arange(chargers) % len(buses)]),
        background_bus=np.zeros(0, np.int64),
        background_p_kw=nothing,
        background_q_kvar=nothing,
    )
