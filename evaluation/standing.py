"""Standing of the cheapest: which others the same days do not tell apart from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gridbazaar.evaluation import mechanisms
from gridbazaar.evaluation.config import EvaluationConfig
from gridbazaar.evaluation.outcome import BOUNDS
from gridbazaar.evaluation.statistics import Bootstrap, apart
from gridbazaar.evaluation.summary import less_of, per_day
from gridbazaar.evaluation.tournament import Tournament

_COST = "community_cost"
# EUR a day; figures that differ by rounding alone are alike.
ROUNDING = 0.001


def standing(
    config: EvaluationConfig, tournament: Tournament, rows: Sequence[mechanisms.Row]
) -> dict[str, Any]:
    """Return which combination has the lowest mean cost, and what is alike.

    `bidder`, `market` and `ledger` name it; `others` counts the combinations that it is held
    against, and `alike` lists those for which the 95 % interval of the paired daily differences
    includes zero, cheapest first: of a single day, which has no interval, all. Bounds and
    subsidised markets are left out.

    Args:
        config: of the evaluation.
        tournament: what was played.
        rows: of its summary, in the same order.
    """
    bootstrap = Bootstrap(len(tournament.first_slot), config.resamples, config.seed)
    played = [
        (row, per_day(tournament, outcome.figures[_COST]))
        for row, outcome in zip(rows, tournament.outcomes, strict=True)
        if row["bidder"] not in BOUNDS and not mechanisms.subsidised(row)
    ]
    (best, costs), *others = sorted(played, key=lambda pair: mechanisms.cost(pair[0]))
    dearer = [bootstrap.summary(less_of(row, best)(theirs, costs)) for row, theirs in others]
    alike = [
        place(row)
        for (row, _), by in zip(others, dearer, strict=True)
        if apart(by.low, by.high, ROUNDING) < 1
    ]
    return place(best) | {"others": len(others), "alike": alike}


def place(row: mechanisms.Row) -> dict[str, str]:
    """Return what names a row's combination."""
    return {name: row[name] for name in ("bidder", "market", "ledger")}
