"""Stage of a tournament: days and chances that all combinations share, and worlds to play in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from gridbazaar.agents.bidders import Bidder
from gridbazaar.agents.run_set import members
from gridbazaar.envs import build
from gridbazaar.envs.build import assemble, make_market
from gridbazaar.envs.config import WorldConfig
from gridbazaar.envs.day import seeds_of
from gridbazaar.envs.day_record import Facts
from gridbazaar.envs.game import Game
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ConfigError
from gridbazaar.evaluation.audit import Audit
from gridbazaar.evaluation.config import GRID_ONLY, IDEAL, EvaluationConfig, label
from gridbazaar.evaluation.deviations import Arena
from gridbazaar.evaluation.exploited import exploited
from gridbazaar.evaluation.feeder_optimum import FeederOptimum, said
from gridbazaar.evaluation.feeder_plan import FeederPlan
from gridbazaar.evaluation.given_days import days_of, unknown
from gridbazaar.evaluation.optimum import Optimum, Plan
from gridbazaar.evaluation.outcome import PLANNER, PLAYED, WITHIN_LIMITS, Combination, Played
from gridbazaar.evaluation.planner import Planner
from gridbazaar.evaluation.playback import Playback
from gridbazaar.evaluation.rollout import play
from gridbazaar.evaluation.stopwatch import Stopwatch

_log = logging.getLogger(__name__)

_CHOSEN_ON = 4  # days on which deviations are chosen

Maker = Callable[[str, Game, str], Bidder]
Progress = Callable[[Iterable[Any], str], Iterable[Any]]


def choose_days(simulation: Simulation, split: str, most: int | None) -> Tensor:
    """Return the first slots [D] of a split's days, all or `most` of them evenly spaced."""
    days = simulation.community.days[split]
    return days if most is None or most >= len(days) else days[_spread(len(days), most)]


class Stage:
    """The days and chances that all combinations share, and the worlds they are played in."""

    def __init__(self, config: EvaluationConfig, make: Maker):
        self._config, self._make = config, make
        self._worlds: dict[tuple[str, str, bool], tuple[Simulation, Stopwatch]] = {}
        self._ledgers = {name: config.ledger_label(name) for name in (IDEAL, *config.ledger)}
        probe, _ = self._build(GRID_ONLY, IDEAL, 1)
        self._try_worlds(probe)
        self._bidders = {
            member: make(member, probe.game, config.device)
            for name in (config.baseline, *config.bidder)
            for member in members(name).values()
        }
        self.first_slot = choose_days(probe, config.split, config.days)
        if config.days is not None and config.days > len(self.first_slot):
            _log.warning(
                "days=%d: the %s split has %d days; all of them are played",
                config.days,
                config.split,
                len(self.first_slot),
            )
        if _of_one_weekday(self.first_slot // probe.slots):
            _log.warning(
                "days=%d: all of them are the same day of the week; days=%d mixes them",
                len(self.first_slot),
                len(self.first_slot) + 1,
            )
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

    def _try_worlds(self, probe: Simulation) -> None:
        """Let a market or ledger that this task cannot have say so before hours are played."""
        c = self._config
        first = c.reference_of_markets
        for market in c.market:
            self._tried(market, IDEAL, probe)
        for ledger in c.ledger:
            trial = self._tried(first, ledger, probe)
            observation = trial.reset()
            trial.step(observation.new_zeros(1, trial.num_seats, len(trial.game.layout.actions)))

    def _tried(self, market: str, ledger: str, probe: Simulation) -> Simulation:
        """Return one market of a world, in the community that is placed already."""
        c = self._config
        world = c.world(market, ledger)
        return assemble(world, probe.community, probe.delivery, 1, c.split, c.seed)

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
    ) -> Played:
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
        return Played(
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
        return Audit(simulation, self._seed, markets, self._config.signed_readings)


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


def _of_one_weekday(days: Tensor) -> bool:
    """Return whether several days, by their numbers in the data, lie whole weeks apart."""
    return len(days) > 1 and not ((days - days[0]) % 7).any()


def _spread(count: int, chosen: int) -> Tensor:
    """Return `chosen` numbers below `count`, evenly spaced."""
    return (torch.arange(chosen) * count) // chosen
