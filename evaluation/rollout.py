"""Rollout: one bidder for all seats through a batch of days, as a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gridbazaar.agents.bidders import Bidder
from gridbazaar.agents.load import load
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.game import Game
from gridbazaar.envs.grid import Limits
from gridbazaar.envs.interval import Interval
from gridbazaar.envs.simulation import Simulation
from gridbazaar.evaluation.audit import Audit


@torch.no_grad()
def play(
    simulation: Simulation,
    bidder: Bidder,
    days: Tensor,
    seed: Tensor,
    facts: Facts,
    limits: Limits,
    audit: Audit | None = None,
) -> DayRecord:
    """Play whole days and return what happened.

    Args:
        simulation: of B markets.
        bidder: decides for all seats.
        days: [B] first slots.
        seed: [B] of the chances of each market.
        facts: of the community.
        limits: of the feeder.
        audit: writes the intervals into chains, where given.
    """
    return DayRecord.of(_intervals(simulation, bidder, days, seed, audit), facts, limits)


def _intervals(
    simulation: Simulation, bidder: Bidder, days: Tensor, seed: Tensor, audit: Audit | None
) -> Iterator[Interval]:
    observation, state = simulation.reset(days=days, seed=seed), None
    for _ in range(simulation.slots):
        action, state = bidder.act(observation, state)
        interval = simulation.step(action)
        if audit is not None:
            audit.record(interval)
        observation = interval.observation
        yield interval


@torch.no_grad()
def daily_cost(
    simulation: Simulation, bidder: str | Callable[[Game], Bidder], seed: int = 0
) -> Tensor:
    """Return what each seat pays by the day under a bidder, [B, N] EUR, on days of the split.

    The B days are spread evenly over the split; bidders meet the same days and chances.
    Seats together are the community's cost, which is what an evaluation compares.

    Args:
        simulation: of as many markets as days are wanted, `gridbazaar.batched(split="test", ...)`.
        bidder: a registered name, a folder of a run, or what builds one for a game.
        seed: of the first market's chances.

    Raises:
        UnknownNameError: no bidder is called so; gives the nearest.
        CheckpointError: the folder holds nothing that can be loaded.
    """
    c = simulation.community
    of_split = c.days[simulation.split]
    days = of_split[torch.arange(simulation.num_envs) * len(of_split) // simulation.num_envs]
    device = c.pv_kwp.device
    game = simulation.game
    player = load(bidder, game, device) if isinstance(bidder, str) else bidder(game)
    observation, state = simulation.reset(days, seed), None
    cost = observation.new_zeros(observation.shape[:2])
    for _ in range(simulation.slots):
        action, state = player.act(observation, state)
        interval = simulation.step(action)
        cost -= interval.reward.total
        observation = interval.observation
    return cost
