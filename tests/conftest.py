"""A month of the default task's data, built once, and days played on it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import pandas as pd
import pytest
import torch
from torch import Tensor

from gridbazaar import envs
from gridbazaar.envs.build import place_community
from gridbazaar.envs.community import Community
from gridbazaar.envs.config import RulesConfig, TaskConfig, WorldConfig
from gridbazaar.envs.data.series import Series
from gridbazaar.envs.data.sessions import Sessions
from gridbazaar.envs.delivery import Delivery
from gridbazaar.envs.game import Game
from gridbazaar.envs.interval import Interval
from gridbazaar.envs.layout import STANDARD
from gridbazaar.envs.simulation import Simulation

SLOTS = 96
_FIRST_DAY, _DAYS = 152, 28  # June: sun enough to trade, and all three splits

Policy = Callable[[Tensor], Tensor]


def _month(series: Series) -> Series:
    """Cut four weeks out of a year; sessions that reach over its ends are left out."""
    begin, end = _FIRST_DAY * SLOTS, (_FIRST_DAY + _DAYS) * SLOTS
    s = series.sessions
    inside = (s.arrival >= begin) & (s.departure <= end)
    sessions = Sessions(
        s.charger_names,
        s.charger_bus,
        s.max_power_kw,
        s.charger[inside],
        s.arrival[inside] - begin,
        s.departure[inside] - begin,
        s.energy_kwh[inside],
        s.slot_minutes,
    )
    rows = ("load_kw", "load_kvar", "pv_per_kwp", "background_p_kw", "background_q_kvar")
    pumps = series.heat_pumps
    powers = ("power_kw", "reactive_kvar")
    return replace(
        series,
        heat_pumps=pumps
        and replace(pumps, **{name: getattr(pumps, name)[begin:end] for name in powers}),
        start=series.start + pd.Timedelta(days=_FIRST_DAY),
        sessions=sessions,
        **{name: getattr(series, name)[begin:end] for name in rows},
    )


def game_of(rules: RulesConfig, slot_h: float = 0.25) -> Game:
    """Return a game with one device a seat, the default task's battery."""
    efficiency, wear_price, largest_kw = torch.tensor([[0.95]]), torch.tensor([[0.05]]), 5.0
    return Game(rules, slot_h, STANDARD, efficiency, wear_price, torch.tensor([largest_kw]))


class Town:
    """The default task's net and a month of its series, from which simulations are built."""

    def __init__(self) -> None:
        self._module = importlib.import_module("gridbazaar.envs.build")
        self.net, year = self._module.load_grid_and_series(envs.world().task)
        self.series = _month(year)
        self._built: dict[tuple[Any, ...], Simulation] = {}
        self._placed: dict[tuple[Any, ...], tuple[Community, Delivery]] = {}

    def build(self, world: WorldConfig, series: Series | None = None, **options: Any) -> Simulation:
        """Return a fresh simulation, by the project's own `build`, on these data."""
        chosen = self.series if series is None else series
        settings: dict[str, Any] = {"num_envs": 2, "split": "train", "seed": 0, **options}
        with (
            mock.patch.object(
                self._module, "load_grid_and_series", return_value=(self.net, chosen)
            ),
            mock.patch.object(self._module, "place_community", self._place),
        ):
            return envs.build(world, **settings)

    def _place(
        self, task: TaskConfig, net: Any, series: Series, device: Any, dtype: torch.dtype
    ) -> tuple[Community, Delivery]:
        """Build a community once: it does not change, and markets and ledgers share it."""
        if series is not self.series:
            return place_community(task, net, series, device, dtype)
        key = (task.model_dump_json(), device, dtype)
        if key not in self._placed:
            self._placed[key] = place_community(task, net, series, device, dtype)
        return self._placed[key]

    def simulation(
        self,
        *overrides: str,
        market: str = "uniform_auction",
        ledger: str = "ideal",
        num_envs: int = 2,
        dtype: torch.dtype = torch.float64,
    ) -> Simulation:
        """Return a simulation that other tests may have played; reset it with a seed."""
        if market == "nucleolus":  # to search random books of 41 seats would take minutes
            overrides = (*overrides, "market.most_players=6")
        key = (overrides, market, ledger, num_envs, dtype)
        if key not in self._built:
            world = envs.world(market=market, ledger=ledger, overrides=overrides)
            self._built[key] = self.build(world, num_envs=num_envs, dtype=dtype)
        return self._built[key]


@pytest.fixture(scope="session")
def town() -> Town:
    return Town()


def random_policy(seed: int, low: float = -1.2, high: float = 1.2, entries: int = 6) -> Policy:
    """Uniform actions, some beyond the bounds, the same for a seed."""
    generator = torch.Generator().manual_seed(seed)

    def act(observation: Tensor) -> Tensor:
        B, N = observation.shape[:2]
        draw = torch.rand(B, N, entries, generator=generator, dtype=torch.float64)
        return (low + draw * (high - low)).to(observation.dtype)

    return act


def play(
    simulation: Simulation,
    policy: Policy | None = None,
    days: Tensor | None = None,
    seed: int = 7,
    slots: int = SLOTS,
) -> Iterator[Interval]:
    """Reset with a seed and play a day."""
    policy = random_policy(seed) if policy is None else policy
    observation = simulation.reset(days, seed)
    for _ in range(slots):
        interval = simulation.step(policy(observation))
        observation = interval.observation
        yield interval
