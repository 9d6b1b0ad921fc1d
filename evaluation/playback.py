"""Playback: actions by which devices run as planned, and whole days of plans played with them.

What a device is to take is offered at the grid's retail price and what it is to give at its feed-in
price, so that it runs whether or not it clears; the share that is offered is what is planned. All
who sell ask no more than all who buy bid, so that neighbours trade whatever one has too much and
another lacks. Must-run nets come behind devices by a tick, and of neighbours devices ask a margin,
so that no seat's own use is sold, even without a local network charge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gridbazaar.envs.action import Decision
from gridbazaar.envs.game import Game
from gridbazaar.evaluation.given_days import Day
from gridbazaar.evaluation.optimum import Plan

TICK = 1e-5  # EUR/kWh, beyond what observations round away


class Seen:
    """What an observation says of the slot bid for: [B, N, K], [B, N] and [B, 1].

    Args:
        observation: [B, N, layout.size].
        game: what everybody knows.
    """

    def __init__(self, observation: Tensor, game: Game):
        layout = game.layout

        def each(name: str) -> Tensor:
            return layout.read_each(observation, name)

        rated_kw = each("flexible_kw")
        self.must_kw = -each("must_take") * rated_kw
        self.take_kw, self.give_kw = each("can_take") * rated_kw, each("can_give") * rated_kw
        load_kw, pv_kw = (layout.read(observation, f"forecast_{of}") for of in ("load", "pv"))
        self.forecast_kw = pv_kw - load_kw
        public = ("retail", "feed_in", "local_charge", "day_low", "day_high")
        self.retail, self.feed_in, self.local_charge, self.low, self.high = (
            layout.read(observation, name)[:, :1] for name in public
        )


def as_planned(seen: Seen, power_kw: Tensor, net_kw: Tensor, game: Game) -> Decision:
    """Return the decision by which devices run as planned.

    Args:
        seen: of the slot.
        power_kw: [B, N, K] of the devices, positive where they give; beyond what is feasible it
            counts as the nearest that is.
        net_kw: [B, N] PV less load that will be metered; what is ordered is corrected to it.
        game: what everybody knows.
    """
    free_kw = power_kw - seen.must_kw
    gives = free_kw > 0
    most_kw = torch.where(gives, seen.give_kw, seen.take_kw)
    share = (free_kw.abs() / most_kw.clamp(min=1e-9)).clamp(max=1)
    must_run_kw = net_kw + seen.must_kw.sum(-1)
    if game.rules.dispatch == "own":
        share, must_run_kw = torch.where(gives, share, -share), must_run_kw + free_kw.sum(-1)
    ask, bid = seen.feed_in.unsqueeze(-1) - TICK, seen.retail.unsqueeze(-1) + TICK
    nothing = torch.zeros_like(net_kw)
    return Decision(
        must_run_price=torch.where(must_run_kw > 0, seen.feed_in + TICK, seen.retail - TICK),
        correction_kw=net_kw - seen.forecast_kw,
        value=torch.where(gives, (ask - game.wear_price) * game.efficiency, bid / game.efficiency),
        margin=torch.full_like(share, TICK),
        share=share,
        tip=nothing,
    )


class Playback:
    """Plays the plans of the days that were begun, each with its own meters foreseen.

    Args:
        plans: of B days.
        days: the same.
        game: what everybody knows.
        like: a tensor whose type and device to use.
    """

    def __init__(self, plans: Sequence[Plan], days: Sequence[Day], game: Game, like: Tensor):
        self._game = game
        self._power_kw = torch.as_tensor(np.stack([plan.power_kw for plan in plans])).to(like)
        self._net_kw = torch.as_tensor(np.stack([day.base_kw for day in days])).to(like)

    def act(self, observation: Tensor, state: int | None) -> tuple[Tensor, int]:
        """Decide one interval; see Bidder."""
        t, seen = state or 0, Seen(observation, self._game)
        decision = as_planned(seen, self._power_kw[:, t], self._net_kw[:, t], self._game)
        return self._game.meaning(seen.low, seen.high).encode(decision), t + 1
