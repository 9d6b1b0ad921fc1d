"""Validation: what learned bidders score on the days they were chosen on, beside the days judged.

A bidder whose score is higher on the days by which its checkpoint was chosen than on days that
nobody had seen was chosen for those days. Splits differ in their days too, so that a bidder that
learned nothing is played on both beside it.
"""

from __future__ import annotations

import math
from typing import Any

from gridbazaar.evaluation.config import EvaluationConfig, is_learned, label
from gridbazaar.evaluation.outcome import BOUNDS, Outcome
from gridbazaar.evaluation.stage import Maker, Progress
from gridbazaar.evaluation.statistics import Bootstrap, Summary
from gridbazaar.evaluation.summary import per_day
from gridbazaar.evaluation.tournament import Tournament, run

SPLIT = "validation"


def played_on(
    config: EvaluationConfig, make: Maker, progress: Progress = lambda items, _: items
) -> Tournament | None:
    """Play learned bidders, and one that is not, on validation days.

    Under the reference market and the first ledger. None where that is not asked for, nothing was
    learned, the evaluation is of validation days itself, or the data have none.

    Args:
        config: of the evaluation on other days.
        make: builds a bidder from its name, the game and the device.
        progress: wraps an iterable and names what it counts.
    """
    learned = [name for name in config.bidder if is_learned(name)]
    if not (config.validation and learned) or config.split == SPLIT:
        return None
    rules = [name for name in config.bidder if name not in learned][:1]
    elsewhere = {
        "bidder": (*learned, *rules),
        "market": (config.reference_of_markets,),
        "ledger": config.ledger[:1],
        "reference": None,
        "split": SPLIT,
        "repeats": 1,
        "planner": False,
        "exploitability": False,
        "signatures": False,
    }
    return run(config.model_copy(update=elsewhere), make, progress)


def compared(
    config: EvaluationConfig, judged: Tournament, chosen: Tournament | None
) -> list[dict[str, Any]]:
    """Return a row per bidder that was played on both: its score there and here.

    `bidder`, `market`, `ledger`, `learned`; `validation` and `judged`, shares of the optimum's
    savings in % with `mean`, `low` and `high`; and `less`, the second less the first, with an
    interval by which the two samples of days are independent. Without an optimum it is empty.
    """
    if chosen is None:
        return []
    here = {outcome.combination: outcome for outcome in judged.outcomes}
    learned = {label(name) for name in config.bidder if is_learned(name)}
    found = []
    for outcome in chosen.outcomes[1:]:
        place = outcome.combination
        if place.bidder in BOUNDS or place not in here:
            continue
        before = _share(config, chosen, outcome, stratum=1)
        after = _share(config, judged, here[place])
        if not (math.isfinite(before.mean) and math.isfinite(after.mean)):
            continue
        found.append(
            {
                "bidder": place.bidder,
                "market": place.market,
                "ledger": place.ledger,
                "learned": place.bidder in learned,
                "days": len(chosen.first_slot),
                SPLIT: _named(before),
                "judged": _named(after),
                "less": apart(after, before),
            }
        )
    return found


def apart(one: Summary, other: Summary) -> dict[str, float]:
    """Return the difference of two independent means and its interval, from theirs.

    Zou and Donner 2008, "Construction of confidence limits about effect measures: a general
    approach", Statistics in Medicine 27(10), 1693-1702, equation 8.
    """
    mean = one.mean - other.mean
    down = ((one.mean - one.low) ** 2 + (other.high - other.mean) ** 2) ** 0.5
    up = ((one.high - one.mean) ** 2 + (other.mean - other.low) ** 2) ** 0.5
    return {"mean": mean, "low": mean - down, "high": mean + up}


def _share(
    config: EvaluationConfig, tournament: Tournament, outcome: Outcome, stratum: int = 0
) -> Summary:
    days = len(tournament.first_slot)
    bootstrap = Bootstrap(days, config.resamples, config.seed, stratum)
    saved, most = (
        per_day(tournament, outcome.figures[name]) for name in ("savings", "optimum_savings")
    )
    share = bootstrap.ratio(saved, most)
    return Summary(*(100 * value for value in (share.mean, share.iqm, share.low, share.high)))


def _named(share: Summary) -> dict[str, float]:
    return {"mean": share.mean, "low": share.low, "high": share.high}
