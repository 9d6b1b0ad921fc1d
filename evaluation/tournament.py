"""Tournament: all bidders under all markets and ledgers, on the same days with the same chances."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from gridbazaar.agents.run_set import members
from gridbazaar.envs.day_record import Facts
from gridbazaar.evaluation.comparison import Yardstick
from gridbazaar.evaluation.config import GRID_ONLY, IDEAL, EvaluationConfig
from gridbazaar.evaluation.feeder_plan import FeederPlan
from gridbazaar.evaluation.outcome import (
    BOUNDS,
    NONE,
    OPTIMUM,
    PLANNER,
    PLAYED,
    WITHIN_LIMITS,
    Combination,
    Outcome,
)
from gridbazaar.evaluation.stage import Maker, Progress, Stage


@dataclass(frozen=True)
class Tournament:
    """All outcomes, on D days times R repeats: B = R * D, a repeat's days side by side.

    A bidder of S training seeds plays all of them with each.

    Attributes:
        outcomes: baseline first, then the bounds that are played, then the combinations; the
            optimum last.
        first_slot: [D] of the days in the year's data.
        repeats: R.
        examples: numbers of the example days among the days, the middling one first.
        facts: of the community.
        band: permitted voltages of the typical bus, p.u.
        plan: of the feeder, to draw it.
    """

    outcomes: tuple[Outcome, ...]
    first_slot: Tensor
    repeats: int
    examples: tuple[int, ...]
    facts: Facts
    band: tuple[float, float]
    plan: FeederPlan

    @property
    def baseline(self) -> Outcome:
        """The grid alone."""
        return self.outcomes[0]


class Kept(Protocol):
    """Outcomes that were played before, by name; `evaluation.kept` has them in a folder."""

    def get(self, name: str, facts: Facts) -> Outcome | None:
        """Return an outcome, None where it was not played yet."""
        ...

    def put(self, name: str, outcome: Outcome) -> None:
        """Keep an outcome."""
        ...


class _Nothing:
    """Keeps nothing."""

    def get(self, name: str, facts: Facts) -> None:
        """Return None."""

    def put(self, name: str, outcome: Outcome) -> None:
        """Forget it."""


def run(
    config: EvaluationConfig,
    make: Maker,
    progress: Progress = lambda items, _: items,
    kept: Kept | None = None,
) -> Tournament:
    """Play all combinations.

    Args:
        config: which, on what.
        make: builds a bidder from its name, the game and the device.
        progress: wraps an iterable and names what it counts.
        kept: takes outcomes as they finish; what it has already is not played again.
    """
    kept = kept or _Nothing()
    stage = Stage(config, make)
    alone, best = _bounds(stage, config, progress, kept)
    yardstick = _yardstick(alone, best)
    examples = yardstick.example_days(len(stage.first_slot))
    planned: dict[str, Tensor] = {}
    outcomes = []
    for bidder, market, ledger in progress(_wanted(stage, config), "combinations"):
        parts = []
        for seed, member in members(bidder).items():
            name = "@".join((member, market, ledger))
            outcome = kept.get(name, stage.facts)
            if outcome is None:
                played = stage.play(bidder, market, ledger, member=member)
                if bidder == PLANNER:
                    planned[ledger] = played.record.seat_cost.sum(-1)
                outcome = Outcome.of(played, yardstick, examples, planned.get(ledger))
                if config.exploitability and bidder not in BOUNDS:
                    outcome = replace(outcome, deviations=stage.deviate(member, market, ledger))
                outcome = replace(outcome, seeds=(seed,))
                kept.put(name, outcome)
            parts.append(outcome)
        outcomes.append(Outcome.together(parts))
        if bidder == PLANNER:
            planned[ledger] = outcomes[-1].figures["community_cost"]
    return Tournament(
        outcomes=(alone, *outcomes, best),
        first_slot=stage.first_slot,
        repeats=config.repeats,
        examples=examples,
        facts=stage.facts,
        band=stage.band,
        plan=stage.plan,
    )


def _wanted(stage: Stage, config: EvaluationConfig) -> list[tuple[str, str, str]]:
    """Return bidder, market and ledger of all that is to be played, those of a world together.

    The reference market comes first, and on each ledger the bounds come before those who are held
    against them.
    """
    reference = config.reference_of_markets
    bounded = stage.bounded
    words = []
    if bounded and IDEAL not in config.ledger:
        words.append((PLAYED, reference, IDEAL))
    if stage.limits_bind:
        words.append((WITHIN_LIMITS, reference, IDEAL))
    for market in sorted(config.market, key=lambda name: name != reference):
        for ledger in config.ledger:
            bounds = [PLAYED] * bounded
            bounds += [PLANNER] * (bounded and config.planner and market == reference)
            words += [(bidder, market, ledger) for bidder in (*bounds, *config.bidder)]
    return [each for each in words if each != (config.baseline, GRID_ONLY, IDEAL)]


def _bounds(
    stage: Stage, config: EvaluationConfig, progress: Progress, kept: Kept
) -> tuple[Outcome, Outcome]:
    """Return what the grid alone and the optimum come to."""
    alone, best = kept.get(GRID_ONLY, stage.facts), kept.get(OPTIMUM, stage.facts)
    if alone is None or best is None:
        played = stage.play(config.baseline, GRID_ONLY, IDEAL, alone=True)
        stage.solve(progress)
        cost = [plan.cost_eur for plan in stage.plans] or [math.nan] * len(stage.days)
        yardstick = Yardstick(played.record.seat_cost, torch.tensor(cost, dtype=torch.float64))
        alone = Outcome.of(played, yardstick, yardstick.example_days(len(stage.first_slot)))
        best = Outcome(Combination(OPTIMUM, NONE, NONE), yardstick.of_optimum())
        kept.put(GRID_ONLY, alone)
        kept.put(OPTIMUM, best)
    return alone, best


def _yardstick(alone: Outcome, best: Outcome) -> Yardstick:
    assert alone.seat_cost is not None
    return Yardstick(alone.seat_cost, best.figures["community_cost"])
