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

import numpy as np
import torch
from torch import Tensor

from gridbazaar.envs.action import Decision
from gridbazaar.envs.devices.fleet import seat_power
from gridbazaar.envs.simulation import Simulation
from gridbazaar.evaluation.optimum import Optimum, Plan, given
from gridbazaar.evaluation.playback import Seen

_WORKERS = 2


class Planner:
    """Bidder for all seats of all markets of a simulation, whose devices it reads.

    Args:
        simulation: that is played.
    """

    def __init__(self, simulation: Simulation):
        self._simulation, self._game = simulation, simulation.game
        c = simulation.community.to("cpu", torch.float64)
        kinds = {kind: device.foreseen() for kind, device in c.fleet.kinds.items()}
        self._community = replace(c, fleet=replace(c.fleet, kinds=kinds))
        self._base_kw = c.pv_kw - c.load_kw

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        seen = Seen(observation, self._game)
        plans = self._solve(seen.forecast_kw.to("cpu", torch.float64))
        worth = torch.as_tensor(np.stack([plan.worth for plan in plans])).to(seen.must_kw)
        must_run_kw = seen.forecast_kw + seat_power(seen.must_kw)
        decision = Decision(
            must_run_price=torch.where(must_run_kw > 0, seen.feed_in, seen.retail),
            correction_kw=torch.zeros_like(must_run_kw),
            value=worth,
            margin=torch.zeros_like(worth),
            share=torch.ones_like(worth),
            tip=torch.zeros_like(must_run_kw),
        )
        return self._game.meaning(seen.low, seen.high).encode(decision), state

    def _solve(self, forecast_kw: Tensor) -> list[Plan]:
        """Return the plans of what is left of the day, from the forecasts [B, N] of its next slot."""
        sim = self._simulation
        row = sim.first_slot.cpu().unsqueeze(-1) + torch.arange(sim.t, sim.slots)
        base_kw = self._base_kw[(row - sim.slots).clamp(min=0)]
        base_kw[:, 0] = forecast_kw
        days = given(self._community, sim.devices, row, base_kw)
        program = Optimum(self._community, sim.rules.unserved_price, sim.slots - sim.t)
        with ThreadPoolExecutor(_WORKERS) as pool:
            return list(pool.map(program.solve, days))
