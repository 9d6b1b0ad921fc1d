"""Tournament: all bidders under all markets and ledgers, on the same days with the same chances."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from gridbazaar.agents.bidders import Bidder
from gridbazaar.agents.run_set import members
from gridbazaar.envs import build, kpis
from gridbazaar.envs.build import make_market
from gridbazaar.envs.config import WorldConfig
from gridbazaar.envs.day import seeds_of
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.game import Game
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ConfigError
from gridbazaar.evaluation.audit import Audit, AuditResult
from gridbazaar.evaluation.comparison import Yardstick
from gridbazaar.evaluation.config import GRID_ONLY, IDEAL, EvaluationConfig, label
from gridbazaar.evaluation.deviations import Arena
from gridbazaar.evaluation.exploited import exploited
from gridbazaar.evaluation.feeder_optimum import FeederOptimum, said
from gridbazaar.evaluation.feeder_plan import FeederPlan
from gridbazaar.evaluation.optimum import Optimum, Plan, days_of, unknown
from gridbazaar.evaluation.planner import Planner
from gridbazaar.evaluation.playback import Playback
from gridbazaar.evaluation.rollout import play
from gridbazaar.evaluation.stopwatch import Stopwatch

_log = logging.getLogger(__name__)

NONE = "-"
# The program's least cost; its plans, played; those that know the feeder; the central planner.
OPTIMUM, PLAYED, PLANNER = "optimum", "optimum_played", "planner"
WITHIN_LIMITS = "optimum_within_limits"
BOUNDS = (OPTIMUM, PLAYED, WITHIN_LIMITS, PLANNER)
# Shares of all bus voltages of all intervals that the report shows.
VOLTAGE_QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
_MOST_VOLTAGES = 2_000_000
_CHOSEN_ON = 4  # days on which deviations are chosen

Maker = Callable[[str, Game, str], Bidder]
Progress = Callable[[Iterable[Any], str], Iterable[Any]]


@dataclass(frozen=True)
class Combination:
    """Who bids, under which market and ledger; bidder and ledger are the labels."""

    bidder: str
    market: str
    ledger: str


@dataclass(frozen=True)
class Outcome:
    """What one combination came to.

    Attributes:
        combination: which.
        figures: [S * B] per key figure, those of a training seed side by side.
        seat_cost: [S * B, N] EUR per day; None for the optimum, which knows no seats.
        example: the example days side by side, of the first seed.
        voltages: [len(VOLTAGE_QUANTILES)] p.u. over all buses, intervals and days; with several
            seeds the mean of theirs, and of the extremes the furthest.
        audit: of the chains, where there are any.
        clearing_ms: mean computing time per clearing and market; differs from run to run.
        deviations: what a seat and a coalition would gain by another bidder or price, as plain
            data, for the first seed; None where that was not sought.
        seeds: [S] training seeds that were played, as one bidder; one without a name where a bidder
            has none.
    """

    combination: Combination
    figures: dict[str, Tensor]
    seat_cost: Tensor | None = None
    example: DayRecord | None = None
    voltages: Tensor | None = None
    audit: AuditResult | None = None
    clearing_ms: float | None = None
    deviations: dict[str, dict[str, Any]] | None = None
    seeds: tuple[str, ...] = ("",)

    @classmethod
    def together(cls, parts: Sequence[Outcome]) -> Outcome:
        """Return the outcome of several training seeds as that of one bidder."""
        if len(parts) == 1:
            return parts[0]
        costs = [part.seat_cost for part in parts if part.seat_cost is not None]
        audits = [part.audit for part in parts if part.audit is not None]
        times = [part.clearing_ms for part in parts if part.clearing_ms is not None]
        levels = [part.voltages for part in parts if part.voltages is not None]
        return cls(
            combination=parts[0].combination,
            figures={
                name: torch.cat([part.figures[name] for part in parts]) for name in parts[0].figures
            },
            seat_cost=torch.cat(costs) if costs else None,
            example=parts[0].example,
            voltages=_together(levels) if levels else None,
            audit=AuditResult.together(audits) if audits else None,
            clearing_ms=sum(times) / len(times) if times else None,
            deviations=parts[0].deviations,
            seeds=tuple(seed for part in parts for seed in part.seeds),
        )


def _together(levels: Sequence[Tensor]) -> Tensor:
    """Return the levels of several seeds' voltages as one."""
    stacked = torch.stack(list(levels))
    middle = stacked.mean(0)
    middle[0], middle[-1] = stacked[:, 0].min(), stacked[:, -1].max()
    return middle


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


def choose_days(simulation: Simulation, split: str, most: int | None) -> Tensor:
    """Return the first slots [D] of a split's days, all or `most` of them evenly spaced."""
    days = simulation.community.days[split]
    return days if most is None or most >= len(days) else days[_spread(len(days), most)]


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
    stage = _Stage(config, make)
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
                outcome = _judge(played, yardstick, examples, planned.get(ledger))
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


def _wanted(stage: _Stage, config: EvaluationConfig) -> list[tuple[str, str, str]]:
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
    stage: _Stage, config: EvaluationConfig, progress: Progress, kept: Kept
) -> tuple[Outcome, Outcome]:
    """Return what the grid alone and the optimum come to."""
    alone, best = kept.get(GRID_ONLY, stage.facts), kept.get(OPTIMUM, stage.facts)
    if alone is None or best is None:
        played = stage.play(config.baseline, GRID_ONLY, IDEAL, alone=True)
        stage.solve(progress)
        cost = [plan.cost_eur for plan in stage.plans] or [math.nan] * len(stage.days)
        yardstick = Yardstick(played.record.seat_cost, torch.tensor(cost, dtype=torch.float64))
        alone = _judge(played, yardstick, yardstick.example_days(len(stage.first_slot)))
        best = Outcome(Combination(OPTIMUM, NONE, NONE), yardstick.of_optimum())
        kept.put(GRID_ONLY, alone)
        kept.put(OPTIMUM, best)
    return alone, best


def _yardstick(alone: Outcome, best: Outcome) -> Yardstick:
    assert alone.seat_cost is not None
    return Yardstick(alone.seat_cost, best.figures["community_cost"])


@dataclass(frozen=True)
class _Played:
    """What happened when one combination played all days."""

    combination: Combination
    record: DayRecord
    audit: AuditResult | None
    clearing_ms: float


def _judge(
    played: _Played,
    yardstick: Yardstick,
    examples: tuple[int, ...],
    planned: Tensor | None = None,
) -> Outcome:
    """Return what a combination came to beside the grid alone, the optimum and the planner."""
    record = played.record
    return Outcome(
        combination=played.combination,
        figures=kpis.compute(record) | yardstick.figures(record.seat_cost, planned),
        seat_cost=record.seat_cost,
        example=record.select(*examples),
        voltages=_quantiles(record.voltage_pu[record.solved]),
        audit=played.audit,
        clearing_ms=played.clearing_ms,
    )


class _Stage:
    """The days and chances that all combinations share, and the worlds they are played in."""

    def __init__(self, config: EvaluationConfig, make: Maker):
        self._config, self._make = config, make
        self._worlds: dict[tuple[str, str, bool], tuple[Simulation, Stopwatch]] = {}
        self._ledgers = {name: config.ledger_label(name) for name in (IDEAL, *config.ledger)}
        probe, _ = self._build(GRID_ONLY, IDEAL, 1)
        self._bidders = {
            member: make(member, probe.game, config.device)
            for name in (config.baseline, *config.bidder)
            for member in members(name).values()
        }
        self.first_slot = choose_days(probe, config.split, config.days)
        self._days = self.first_slot.repeat(config.repeats)
        self._seed = seeds_of(config.seed, len(self._days))
        self.facts = Facts.of(probe.community, config.carbon_kg_per_kwh)
        limits = probe.delivery.limits
        self.band = (float(limits.vm_min_pu.median()), float(limits.vm_max_pu.median()))
        self.plan = FeederPlan.of(probe)
        self.optimum = Optimum(probe.community, config.task.rules.unserved_price)
        simulation, _ = self._world(GRID_ONLY, IDEAL, alone=True)
        simulation.reset(days=self._days, seed=self._seed)
        self.days = days_of(simulation)
        self.plans: list[Plan] = []
        self._feeder = FeederOptimum(self.optimum, probe)
        missing = unknown(self.days, self.optimum.least_feed_in, bool(config.incentives))
        self.bounded = not missing
        if missing:
            _log.warning("%s", missing)

    def solve(self, progress: Progress = lambda items, _: items) -> None:
        """Find the optimum's plan of each day, none where one of them has none."""
        if self.bounded and not self.plans:
            self.plans = [self.optimum.solve(day) for day in progress(self.days, "optimum")]

    @property
    def limits_bind(self) -> bool:
        """Return whether limits are priced and the optimum's plan breaks one on any day."""
        if not self.bounded or self._config.task.rules.limits.action != "price":
            return False
        self.solve()
        return any(map(self._feeder.breaks, self.days, self._days.tolist(), self.plans))

    def _within_limits(self) -> list[Plan]:
        """Return the optimum's plans within the feeder's limits."""
        self.solve()
        found = list(map(self._feeder.solve, self.days, self._days.tolist(), self.plans))
        _log.warning("%s", said(found))
        return [each.plan for each in found]

    def _build(
        self, market: str, ledger: str, num_envs: int, alone: bool = False
    ) -> tuple[Simulation, Stopwatch]:
        c = self._config
        world, dtype = c.world(market, ledger), getattr(torch, c.precision)
        if alone:
            world = without_positions(world)
        watch = Stopwatch(make_market(world.market))
        return build(world, num_envs, c.split, c.seed, c.device, dtype, watch), watch

    def _world(self, market: str, ledger: str, alone: bool = False) -> tuple[Simulation, Stopwatch]:
        key = (market, ledger, alone)
        if key not in self._worlds:
            # One at a time: a world holds the year's data of its community.
            self._worlds = {key: self._build(market, ledger, len(self._days), alone)}
        return self._worlds[key]

    def _bidder(self, name: str, simulation: Simulation) -> Bidder:
        if name == PLANNER:
            return Planner(simulation)
        if name in (PLAYED, WITHIN_LIMITS):
            self.solve()
            plans = self._within_limits() if name == WITHIN_LIMITS else self.plans
            return Playback(plans, self.days, simulation.game, simulation.community.pv_kwp)
        return self._bidders[name]

    def play(
        self,
        bidder: str,
        market: str,
        ledger: str,
        alone: bool = False,
        member: str | None = None,
    ) -> _Played:
        """Play one combination on all days.

        Args:
            bidder, market, ledger: the combination.
            alone: without a market's positions.
            member: which of the bidder's training seeds, where it has several.
        """
        simulation, watch = self._world(market, ledger, alone)
        audit = self._audit(simulation) if self._config.signatures and ledger != IDEAL else None
        watch.start()
        record = play(
            simulation,
            self._bidder(member or bidder, simulation),
            self._days,
            self._seed,
            self.facts,
            simulation.delivery.limits,
            audit,
        )
        return _Played(
            combination=Combination(label(bidder), market, self._ledgers[ledger]),
            record=record,
            audit=None if audit is None else audit.verify(self._config.verified_share),
            clearing_ms=watch.milliseconds,
        )

    def deviate(self, bidder: str, market: str, ledger: str) -> dict[str, dict[str, Any]]:
        """Return what one seat, and all of a role, would gain by playing otherwise."""
        c, (simulation, _) = self._config, self._world(market, ledger)
        device = simulation.community.pv_kwp.device
        choose, judge = _apart(simulation, c.split, c.deviation_days)
        arena = Arena(
            simulation,
            self._bidder(bidder, simulation),
            lambda name, game: self._make(name, game, c.device),
            c.seed,
        )
        try:
            return exploited(
                arena, c.deviations, choose.to(device), judge.to(device), c.resamples, c.seed
            )
        finally:
            simulation.num_envs = len(self._days)

    def _audit(self, simulation: Simulation) -> Audit:
        days = len(self.first_slot)
        markets = _spread(days, min(self._config.signed_days or days, days))
        return Audit(simulation, self._seed, markets)


def without_positions(world: WorldConfig) -> WorldConfig:
    """Return a world in which nobody promises anything: each meter at the grid's own prices.

    What the grid alone costs is no matter of forecasts, for devices follow their own meter, and of
    no scheme that pays for readings.
    """
    rules = world.task.rules.model_copy(
        update={"quantity": "metered", "firming": "none", "imbalance": "grid"}
    )
    task = world.task.model_copy(update={"rules": rules})
    return world.model_copy(update={"task": task, "incentives": ()})


def _apart(simulation: Simulation, split: str, most: int) -> tuple[Tensor, Tensor]:
    """Return the days on which a deviation is chosen, of another split, and those to judge it on.

    Raises ConfigError where the data have no other split.
    """
    for other in ("validation", "train"):
        if other != split and len(simulation.community.days[other]):
            chosen = choose_days(simulation, other, _CHOSEN_ON)
            return chosen, choose_days(simulation, split, most)
    raise ConfigError(
        f"exploitability=true chooses deviations on days of another split than {split}, and the "
        "data have none; give more days of data, or leave it out"
    )


def _spread(count: int, chosen: int) -> Tensor:
    """Return `chosen` numbers below `count`, evenly spaced."""
    return (torch.arange(chosen) * count) // chosen


def _quantiles(voltages: Tensor) -> Tensor:
    """Return the quantiles of all voltages; of an even sample where there are very many."""
    flat = voltages.flatten()
    sample = flat[:: max(1, -(-len(flat) // _MOST_VOLTAGES))]
    if not len(sample):
        return torch.full((len(VOLTAGE_QUANTILES),), torch.nan, dtype=voltages.dtype)
    return sample.quantile(sample.new_tensor(VOLTAGE_QUANTILES))
