"""Skill range: what there is to win in a task, who wins how much, and what bidding decides."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gridbazaar.agents.load import load
from gridbazaar.errors import ConfigError
from gridbazaar.evaluation import config as evaluation_config
from gridbazaar.evaluation.config import IDEAL, EvaluationConfig
from gridbazaar.evaluation.outcome import BOUNDS, OPTIMUM, PLANNER, PLAYED, WITHIN_LIMITS
from gridbazaar.evaluation.stage import Maker
from gridbazaar.evaluation.tables import piped
from gridbazaar.evaluation.tournament import run

TRUTHFUL = "truthful"
_TASK = "task"
_WITHIN = " Within the feeder's limits the optimum costs {:.2f}."
_HEAD = (
    "task",
    "grid alone",
    "best classic",
    "planner",
    "optimum",
    "its plan played",
    "best saves, % of optimum's",
    "planner saves, %",
    "bidding decides, %",
    "limits broken, % of time",
)


@dataclass(frozen=True)
class SkillRange:
    """What a task's days come to, in money a day and its mean over days, on the ideal ledger.

    Attributes:
        task, currency, market: where it was played.
        days: how many.
        alone: the grid alone.
        classic: of every classic bidder by name.
        optimum: the program's; NaN where it is unknown.
        played: its plans, played under the task's rules; NaN likewise.
        planner: the central planner's; NaN likewise.
        within_limits: the optimum's within the feeder's limits; NaN where it breaks none without.
        limits_broken: % of the intervals under the truthful bidder.
        seconds: wall time of the stages by name.
    """

    task: str
    currency: str
    market: str
    days: int
    alone: float
    classic: Mapping[str, float]
    optimum: float
    played: float
    planner: float
    within_limits: float
    limits_broken: float
    seconds: Mapping[str, float]

    @property
    def best(self) -> str:
        """Return the name of the cheapest classic bidder."""
        return min(self.classic, key=self.classic.__getitem__)

    def share(self, cost: float) -> float:
        """Return what a cost saves of what the optimum saves, in %; NaN where nobody can."""
        most = self.alone - self.optimum
        return 100 * (self.alone - cost) / most if most > 0 else math.nan

    @property
    def decided(self) -> float:
        """Return what bidding decides: what the planner saves beyond the best classic bidder, %.

        It is a share of the optimum's savings: what is left for a bidder to learn who has no more
        to know than all seats together.
        """
        return self.share(self.planner) - self.share(self.classic[self.best])


def configure(words: Sequence[str]) -> list[EvaluationConfig]:
    """Return the configuration of each task that the words name; the default one where none does.

    Words are those of an evaluation; every classic bidder plays on the ideal ledger, under the
    reference market.

    Raises:
        ConfigError: a word is refused, or says who plays, on which ledger.
        UnknownNameError: there is no such market; gives the nearest.
    """
    tasks = [word for word in words if word.partition("=")[0] == _TASK]
    others = [word for word in words if word not in tasks]
    for word in others:
        if word.partition("=")[0] in ("name", "bidder", "ledger", "planner"):
            raise ConfigError(
                f"{word} has no place in a skill range, which compares all classic bidders and "
                "bounds on the ideal ledger; leave it out"
            )
    fixed = ["name=skill_range", "bidder=all", f"ledger={IDEAL}", "planner=true"]
    return [
        evaluation_config.configure([*fixed, *task, *others])
        for task in ([[word] for word in tasks] or [[]])
    ]


def measure(config: EvaluationConfig, make: Maker = load) -> SkillRange:
    """Play a task and return its skill range; a task without a known optimum has no planner.

    Raises OptimumError where no optimum was found.
    """
    watch = _Watch()
    tournament = run(config, make, watch)
    alone, *others = tournament.outcomes
    cost = {o.combination.bidder: _mean(o.figures["community_cost"]) for o in others}
    truthful = next(o for o in others if o.combination.bidder == TRUTHFUL)
    return SkillRange(
        task=config.task.name,
        currency=tournament.facts.currency,
        market=config.reference_of_markets,
        days=len(tournament.first_slot),
        alone=_mean(alone.figures["community_cost"]),
        classic={name: eur for name, eur in cost.items() if name not in BOUNDS},
        optimum=cost[OPTIMUM],
        played=cost.get(PLAYED, math.nan),
        planner=cost.get(PLANNER, math.nan),
        within_limits=cost.get(WITHIN_LIMITS, math.nan),
        limits_broken=_mean(truthful.figures["limits_broken"]),
        seconds=watch.seconds,
    )


def table(ranges: Sequence[SkillRange]) -> str:
    """Return the ranges as Markdown: a line per task, each classic bidder, and the wall time."""
    head = [*_HEAD]
    lines = [head, *map(_line, ranges)]
    names = sorted(ranges[0].classic, key=ranges[0].classic.__getitem__)
    bidders = [["bidder", *(f"`{r.task}`" for r in ranges)]]
    bidders += [[f"`{name}`", *(f"{r.classic[name]:.2f}" for r in ranges)] for name in names]
    said = [
        f"`{r.task}`: {r.days} days under `{r.market}`, {r.currency} a day; "
        + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in r.seconds.items())
        + "."
        + ("" if math.isnan(r.within_limits) else _WITHIN.format(r.within_limits))
        for r in ranges
    ]
    return "\n".join([piped(lines), piped(bidders), *said])


def _line(r: SkillRange) -> list[str]:
    best = r.classic[r.best]
    costs = (r.alone, best, r.planner, r.optimum, r.played)
    alone, cheapest, *bounds = (_shown(cost, 2) for cost in costs)
    shares = (r.share(best), r.share(r.planner), r.decided, r.limits_broken)
    shown = [alone, f"{cheapest} (`{r.best}`)", *bounds, *(_shown(each, 1) for each in shares)]
    return [f"`{r.task}`", *shown]


def _shown(figure: float, digits: int) -> str:
    return "unknown" if math.isnan(figure) else f"{figure:.{digits}f}"


def _mean(figure: Tensor) -> float:
    return float(figure.mean())


class _Watch:
    """Progress that keeps the wall time of the bounds by name, and of all bidders together.

    Attributes:
        seconds: by name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, items: Iterable[Any], what: str) -> Iterator[Any]:
        """Yield the items; what is done with each counts for it."""
        for item in items:
            begun = time.perf_counter()
            yield item
            name = item[0] if what == "combinations" else what
            name = name if name in BOUNDS else "classic bidders"
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
