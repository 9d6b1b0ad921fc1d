"""Community of a part of a task's homes and chargers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from gridbazaar import envs
from gridbazaar.envs.build import place_community
from gridbazaar.envs.community import Community
from gridbazaar.envs.data.series import Series
from gridbazaar.envs.data.sessions import Sessions
from gridbazaar.envs.delivery import Delivery
from gridbazaar.envs.placement import load_grid_and_series


@dataclass(frozen=True)
class Sample:
    """A community on its feeder, for any market and ledger."""

    task: str
    world: envs.WorldConfig
    community: Community
    delivery: Delivery

    @property
    def seats(self) -> int:
        """N."""
        return len(self.community.seats)

    @property
    def retail(self) -> float:
        """Mean price of a kWh from the grid over the year, EUR."""
        return float(self.community.prices.retail.mean())


@cache
def _loaded(task: str) -> tuple[envs.WorldConfig, Any, Series]:
    world = envs.world(task)
    return world, *load_grid_and_series(world.task)


def build_sample(task: str, share: float, draw: int) -> Sample:
    """Build a task's community with a share of its members.

    PV, home and community batteries follow by the task's own penetration and sizing, so that a part
    is equipped as the whole; `draw` chooses who is in it.
    """
    world, net, series = _loaded(task)
    community, delivery = place_community(world.task, net, part(series, share, draw))
    return Sample(task, world, community, delivery)


def part(series: Series, share: float, draw: int) -> Series:
    """Return the series of a share of the homes and of the chargers, at least one of each.

    The other homes stay on the feeder as loads without PV; the other chargers stay empty.
    """
    rng = np.random.default_rng(draw)
    homes, chargers = len(series.home_names), len(series.sessions.charger_names)
    inside = np.sort(rng.permutation(homes)[: max(1, round(share * homes))])
    outside = np.setdiff1d(np.arange(homes), inside)
    buses = np.union1d(series.background_bus, series.home_bus[outside])
    active, reactive = np.zeros((2, len(series.load_kw), len(buses)), np.float32)
    at = np.searchsorted(buses, series.background_bus)
    active[:, at], reactive[:, at] = series.background_p_kw, series.background_q_kvar
    at = np.searchsorted(buses, series.home_bus[outside])
    np.subtract.at(active.T, at, series.load_kw.T[outside])
    np.subtract.at(reactive.T, at, series.load_kvar.T[outside])
    kept = np.sort(rng.permutation(chargers)[: max(1, round(share * chargers))])
    return replace(
        series,
        home_names=tuple(series.home_names[i] for i in inside),
        home_bus=series.home_bus[inside],
        load_kw=series.load_kw[:, inside],
        load_kvar=series.load_kvar[:, inside],
        pv_per_kwp=series.pv_per_kwp[:, inside],
        background_bus=buses,
        background_p_kw=active,
        background_q_kvar=reactive,
        grid_pv_kwp=series.grid_pv_kwp[inside],
        grid_battery_kwh=series.grid_battery_kwh[inside],
        grid_battery_kw=series.grid_battery_kw[inside],
        sessions=_sessions(series.sessions, kept),
    )


def _sessions(sessions: Sessions, kept: np.ndarray) -> Sessions:
    theirs = np.isin(sessions.charger, kept)
    return replace(
        sessions,
        charger_names=tuple(sessions.charger_names[i] for i in kept),
        charger_bus=sessions.charger_bus[kept],
        max_power_kw=sessions.max_power_kw[kept],
        charger=np.searchsorted(kept, sessions.charger[theirs]),
        arrival=sessions.arrival[theirs],
        departure=sessions.departure[theirs],
        energy_kwh=sessions.energy_kwh[theirs],
    )
