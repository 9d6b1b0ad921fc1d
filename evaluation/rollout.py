"""Rollout: one bidder for all seats through a batch of days, as a record."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gridbazaar.agents.bidders import Bidder
from gridbazaar.envs.day_record import DayRecord, Facts
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
