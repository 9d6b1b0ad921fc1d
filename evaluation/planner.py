"""Planner: one central program for all devices, solved anew in every slot with what seats know.

Of the slot bid for it takes the seats' own forecasts, of the rest of the day yesterday's meters; it
knows the tariff, what devices hold, and when the cars that are there leave, but no car to come. It
says what content is worth (the dual price of the program's stored energy), and devices are offered
whole at that: so the market runs them as the program would, and they answer to what the program
could not foresee. It knows more than any seat, which sees its own meters alone, and no more than
all seats together.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gridbazaar.envs.action import Decision
from gridbazaar.envs.devices import Profile
from gridbazaar.envs.devices.fleet import seat_power
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.envs.simulation import Simulation
from gridbazaar.evaluation.optimum import Day, Optimum, given
from gridbazaar.evaluation.playback import Seen

Bases = list[Any]

_WORKERS = 2


class Planner:
    """Bidder for all seats of all markets of a simulation, whose devices it reads.

    Args:
        simulation: that is played.
    """

    def __init__(self, simulation: Simulation, pasts: int = 3):
        self._simulation, self._game, self._pasts = simulation, simulation.game, pasts
        c = simulation.community.to("cpu", torch.float64)
        kinds = {kind: device.foreseen() for kind, device in c.fleet.kinds.items()}
        self._community = replace(c, fleet=replace(c.fleet, kinds=kinds))
        self._base_kw = c.pv_kw - c.load_kw
        self._program = Optimum(c, simulation.rules.unserved_price)

    def act(self, observation: Tensor, state: Bases | None) -> tuple[Tensor, Bases]:
        """Decide one interval; see Bidder."""
        seen = Seen(observation, self._game)
        days = self._outlooks(seen.forecast_kw.to("cpu", torch.float64))
        bases = [None] * len(days) if state is None else state
        with ThreadPoolExecutor(_WORKERS) as pool:
            plans = list(pool.map(self._program.solve, days, bases))
        found = np.stack([plan.worth[self._simulation.t] for plan in plans])
        worth = found.reshape(self._pasts, -1, *found.shape[1:]).mean(0)
        must_run_kw = seen.forecast_kw + seat_power(seen.must_kw)
        value = torch.as_tensor(worth).to(seen.must_kw)
        decision = Decision(
            must_run_price=torch.where(must_run_kw > 0, seen.feed_in, seen.retail),
            correction_kw=torch.zeros_like(must_run_kw),
            value=value,
            margin=torch.zeros_like(value),
            share=torch.ones_like(value),
            tip=torch.zeros_like(must_run_kw),
        )
        action = self._game.meaning(seen.low, seen.high).encode(decision)
        return action, [plan.basis for plan in plans]

    def _outlooks(self, forecast_kw: Tensor) -> list[Day]:
        """Return days of every past and market, of which nothing is left to do but the rest.

        `forecast_kw` is [B, N], of the slot bid for.
        """
        sim = self._simulation
        row = sim.first_slot.cpu().unsqueeze(-1) + torch.arange(sim.t, sim.slots)
        days = []
        for past in range(1, self._pasts + 1):
            base_kw = self._base_kw[(row - past * sim.slots).clamp(min=0)]
            base_kw[:, 0] = forecast_kw
            days += given(self._community, sim.devices, row, base_kw)
        return [_whole(day, sim.t) for day in days]


def _whole(day: Day, gone: int) -> Day:
    """Return a day in whose first slots, so many are gone, nothing can be done."""
    units = day.units._asdict()
    for name, values in units.items():
        if values.ndim == 2:
            units[name] = np.pad(values, ((0, 0), (gone, 0)))
    return Day(
        base_kw=np.pad(day.base_kw, ((gone, 0), (0, 0))),
        prices=SlotPrices(*(np.pad(price, (gone, 0)) for price in day.prices)),
        units=Profile(**units),
    )
