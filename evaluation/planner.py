"""Planner: one central program for all devices, solved anew in every slot with what seats know.

Of the slot bid for it takes the seats' own forecasts, of the rest of the day the meters of the days
before, one program each; it knows the tariff, what devices hold, and when the cars that are there
leave, but no car to come. It knows more than any seat, which sees its own meters alone, and no more
than all seats together.

Devices do the mean of what the programs ask of them, which by convexity costs no more than the mean
of their plans. As in a playback, most run whether or not they clear. Who balances the community in
the slot, taking its surplus or covering its need, offers all that it can instead, at the middle of
the grid's two prices: there the pool's two prices meet, so that the same devices clear what there
is, and follow whatever meters show beside the forecasts.
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
from gridbazaar.envs.game import Game
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.envs.simulation import Simulation
from gridbazaar.evaluation.given_days import Day, given
from gridbazaar.evaluation.optimum import Optimum
from gridbazaar.evaluation.playback import TICK, Seen, as_planned

Bases = list[Any]

_WORKERS = 2
_ACTIVE_KW, _GRID_KW = 1e-3, 1.0  # less is none; less is a rounding of the community's
_PATIENCE = 4e-3  # EUR/kWh, four times what a day's delay counts for


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
        seen, game = Seen(observation, self._game), self._game
        days = self._outlooks(seen.forecast_kw.to("cpu", torch.float64))
        bases = [None] * len(days) if state is None else state
        with ThreadPoolExecutor(_WORKERS) as pool:
            plans = list(pool.map(self._program.solve, days, bases))
        found = np.stack([plan.power_kw[self._simulation.t] for plan in plans])
        power_kw = torch.as_tensor(found.reshape(self._pasts, -1, *found.shape[1:]).mean(0))
        decision = following(seen, power_kw.to(seen.must_kw), game)
        return game.meaning(seen.low, seen.high).encode(decision), [plan.basis for plan in plans]

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
        return [_whole(_in_time(day), sim.t) for day in days]


def following(seen: Seen, power_kw: Tensor, game: Game) -> Decision:
    """Return the decision by which devices run as planned, and follow what nobody foresaw.

    Args:
        seen: of the slot.
        power_kw: [B, N, K] of the devices, positive where they give.
        game: what everybody knows.
    """
    planned = as_planned(seen, power_kw, seen.forecast_kw, game)
    if game.rules.dispatch == "own":
        return planned
    free_kw = power_kw - seen.must_kw
    taken_kw, given_kw = (side.clamp(min=0).sum((1, 2)) for side in (-free_kw, free_kw))
    export_kw = seen.forecast_kw.sum(-1) + power_kw.sum((1, 2))
    # Nobody balances who takes what the grid sells, or gives what it buys.
    takes = (taken_kw > given_kw) & (export_kw > -_GRID_KW)
    gives = (taken_kw <= given_kw) & (export_kw < _GRID_KW)
    takes, gives = takes.view(-1, 1, 1), gives.view(-1, 1, 1)
    follows = takes & (free_kw < -_ACTIVE_KW) | gives & (free_kw > _ACTIVE_KW)

    charge = seen.local_charge
    middle = torch.minimum((seen.retail + seen.feed_in) / 2, seen.retail - charge)
    each = middle.unsqueeze(-1)
    value = torch.where(takes, each / game.efficiency, (each - game.wear_price) * game.efficiency)
    # In the book, a taker's bid is less by the charge; must-runs leave the margin to devices.
    price = middle - charge * takes.squeeze(-1)
    must_run_kw = seen.forecast_kw + seen.must_kw.sum(-1)
    return planned._replace(
        must_run_price=torch.where(must_run_kw > 0, price - 3 * TICK, price + charge + 3 * TICK),
        value=torch.where(follows, value, planned.value),
        share=torch.where(follows, 1.0, planned.share),
    )


def _in_time(day: Day) -> Day:
    """Return a day in which, of equal prices, surplus is stored early and the grid's bought late.

    What is not foreseen may then still be used.
    """
    prices = day.prices
    tick = (prices.retail - prices.feed_in).clip(0, _PATIENCE) / 4
    later = tick * np.linspace(0, 1, len(tick))
    retail, feed_in = prices.retail - later, prices.feed_in + later
    return replace(day, prices=prices._replace(retail=retail, feed_in=feed_in))


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
