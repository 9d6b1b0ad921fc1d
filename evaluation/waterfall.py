"""Waterfall: from what the grid alone costs down to the optimum, step by step, on one ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gridbazaar.evaluation import mechanisms
from gridbazaar.evaluation.config import IDEAL
from gridbazaar.evaluation.outcome import BOUNDS, OPTIMUM, PLANNER, PLAYED

Row = Mapping[str, Any]

ALONE = "grid alone"
MEANINGS = {
    "coordination": "what the cheapest bidder saves over the grid alone",
    "bidding": "what the planner, who knows all that seats know, saves beside it",
    "forecast error": "what knowing the day would save the planner",
    "bidding and forecasts": "what a plan that knows the day saves beside it",
    "ledger": "what that plan would save without latency, losses and fees",
    "market and limits": "what is left to the program, which knows no market and no feeder",
}


def waterfalls(rows: Sequence[Row], market: str) -> list[dict[str, Any]]:
    """Return a waterfall per ledger: `ledger`, `bidder`, `market`, and `steps`.

    A step has a `name`, the `cost` in EUR a day that is reached by it, and its `change`; the
    changes add up from the grid alone to the optimum. Without a planner, bidding and forecast
    error are one step. Empty where the optimum is unknown, or nobody bids.

    Args:
        rows: of a summary.
        market: in which all of it is played.
    """
    best = next(mechanisms.cost(row) for row in rows if row["bidder"] == OPTIMUM)
    alone = next(mechanisms.cost(row) for row in rows if row["baseline"])
    here = [row for row in rows if row["market"] == market and not row["baseline"]]
    played = {row["ledger"]: mechanisms.cost(row) for row in here if row["bidder"] == PLAYED}
    planned = {row["ledger"]: mechanisms.cost(row) for row in here if row["bidder"] == PLANNER}
    if not math.isfinite(best) or IDEAL not in played:
        return []
    found = []
    for ledger in dict.fromkeys(row["ledger"] for row in here if row["bidder"] not in BOUNDS):
        bidder = min(
            (row for row in here if row["ledger"] == ledger and row["bidder"] not in BOUNDS),
            key=mechanisms.cost,
        )
        costs = {ALONE: alone, "coordination": mechanisms.cost(bidder)}
        if ledger in planned:
            costs |= {"bidding": planned[ledger], "forecast error": played[ledger]}
        else:
            costs["bidding and forecasts"] = played[ledger]
        costs |= {"ledger": played[IDEAL], "market and limits": best}
        found.append(
            {
                "ledger": ledger,
                "bidder": bidder["bidder"],
                "market": market,
                "steps": _steps(costs),
            }
        )
    return found


def _steps(costs: Mapping[str, float]) -> list[dict[str, Any]]:
    before, steps = 0.0, []
    for name, cost in costs.items():
        steps.append({"name": name, "cost": cost, "change": cost - before})
        before = cost
    return steps
