"""Leaderboard of a suite: scores over all tasks, markets, ledgers, training seeds and days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from gridbazaar.evaluation.cells import Missing, Played
from gridbazaar.evaluation.config import label
from gridbazaar.evaluation.entries import TASK, Entries
from gridbazaar.evaluation.figures import percent, tenths
from gridbazaar.evaluation.outcome import PLANNER, PLAYED, Combination
from gridbazaar.evaluation.scores import better, scores
from gridbazaar.evaluation.statistics import Array, Bootstrap, interquartile_mean, interval
from gridbazaar.evaluation.tables import piped

_BOUNDS = {PLAYED: "optimum, its plans played", PLANNER: "central planner, played"}


class _Suite(Protocol):
    """What a leaderboard asks of a suite."""

    @property
    def name(self) -> str: ...
    @property
    def markets(self) -> tuple[str, ...]: ...
    @property
    def against(self) -> str: ...
    @property
    def resamples(self) -> int: ...
    @property
    def seed(self) -> int: ...


def board(suite: _Suite, who: Entries, played: Sequence[Played]) -> dict[str, Any]:
    """Return `rows`, the best first, `missing` and `notes` of a suite.

    A row has `name`, `rank` (None where a cell is missing, or for a bound), `seeds`, `cells` of
    `of`, and where there are any, `mean`, `iqm` and `improvement`, each with an interval, and
    `tasks`: the mean score of each. Intervals are bootstrapped over days, each task's by
    themselves, and over training seeds.
    """
    missing = [line for each in played for line in each.missing]
    notes = [f"{e.case.name}: nothing could be played." for e in played if e.tournament is None]
    usable = [each for each in played if each.tournament is not None]
    strata = [_bootstrap(each, suite, number) for number, each in enumerate(usable)]
    places = [(m, lb) for each in usable[:1] for m in suite.markets for lb in _ledgers(each)]
    rows = []
    for name in (*_BOUNDS, *who.names):
        found = [
            (each, boot, cell)
            for each, boot in zip(usable, strata, strict=True)
            for cell in _cells(each, label(who.of(name, each.case.config.task.name)), places)
        ]
        if found or name not in _BOUNDS:
            shown = _BOUNDS.get(name) or label(name.replace(f"/{TASK}", ""))
            rows.append(_row(shown, found, len(places) * len(played), suite))
            rows[-1]["bound"] = name in _BOUNDS
    ranked = [r for r in rows if not r["bound"] and r["cells"] == r["of"]]
    for rank, row in enumerate(sorted(ranked, key=lambda r: -r["mean"]["mean"]), 1):
        row["rank"] = rank
    rows.sort(key=lambda r: (not r["bound"], r["rank"] is None, r["rank"] or 0))
    return {
        "tasks": [each.case.name for each in played],
        "rows": rows,
        "missing": [_described(line) for line in missing],
        "notes": notes,
    }


def _ledgers(each: Played) -> list[str]:
    config = each.case.config
    return [config.ledger_label(name) for name in config.ledger]


def _bootstrap(each: Played, suite: _Suite, number: int) -> Bootstrap:
    assert each.tournament is not None
    return Bootstrap(len(each.tournament.first_slot), suite.resamples, suite.seed, number)


def _cells(each: Played, bidder: str, places: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the scores of a bidder [S, D] in each place of a task that it was played in."""
    found = []
    for market, ledger in places:
        outcome = each.outcomes.get(Combination(bidder, market, ledger))
        if outcome is None:
            continue
        cost = each.daily(outcome.figures["community_cost"])
        alone = each.daily(outcome.figures["baseline_cost"])
        best = alone - each.daily(outcome.figures["optimum_savings"])
        score = scores(cost, best[0], alone[0])
        if score is not None:
            found.append({"place": (market, ledger), "score": score, "cost": cost})
    return found


def _row(name: str, found: Sequence[Any], of: int, suite: _Suite) -> dict[str, Any]:
    """Return a bidder's row from all its cells: the case, its bootstrap, the scores."""
    row: dict[str, Any] = {"name": name, "rank": None, "cells": len(found), "of": of, "seeds": 0}
    if not found:
        return row
    row["seeds"] = max(len(cell["score"]) for _, _, cell in found)
    means = [boot.means(cell["score"]) for _, boot, cell in found]
    mean = float(np.mean([cell["score"].mean() for _, _, cell in found]))
    row["mean"] = _with_interval(mean, np.mean(means, 0))
    pool = np.concatenate([cell["score"].ravel() for _, _, cell in found])
    drawn = np.concatenate([boot.pools(cell["score"]) for _, boot, cell in found], 1)
    middle = float(interquartile_mean(pool[:, None])[0])
    row["iqm"] = _with_interval(middle, interquartile_mean(drawn.T))
    chances = [_against(each, boot, cell, suite.against) for each, boot, cell in found]
    known = [chance for chance in chances if chance is not None]
    if known and len(known) == len(found):
        first = float(np.mean([chance[0] for chance in known]))
        row["improvement"] = _with_interval(first, np.mean([c[1] for c in known], 0).clip(0, 1))
    row["tasks"] = {
        task: float(np.mean([c["score"].mean() for e, _, c in found if e.case.name == task]))
        for task in dict.fromkeys(each.case.name for each, _, _ in found)
    }
    return row


def _against(
    each: Played, boot: Bootstrap, cell: Mapping[str, Any], reference: str
) -> tuple[float, Array] | None:
    """Return the probability of improvement on a reference in a cell, and its resamples."""
    other = each.outcomes.get(Combination(reference, *cell["place"]))
    if other is None:
        return None
    pairs = better(cell["cost"], each.daily(other.figures["community_cost"]))
    return float(pairs.mean()), boot.means(pairs)


def _with_interval(mean: float, resampled: Array) -> dict[str, float]:
    low, high = interval(resampled)
    return {"mean": mean, "low": low, "high": high}


def _described(line: Missing) -> dict[str, str]:
    return {"case": line.case, "bidder": label(line.bidder), "line": line.line}


def markdown(found: Mapping[str, Any]) -> str:
    """Return LEADERBOARD.md of what suite.json holds."""
    suite, tasks = found["suite"], found["tasks"]
    head = ["rank", "bidder", "seeds", "share of the optimum's savings, %", "IQM, %"]
    head += [f"better than {suite['against']}, % of days", *tasks]
    lines = [head]
    for row in found["rows"]:
        rank = "–" if row["rank"] is None else str(row["rank"])
        name = f"*{row['name']}*" if row["bound"] else f"`{row['name']}`"
        if row["cells"] < row["of"]:
            name += f" ({row['cells']} of {row['of']} cells)"
        cells = [percent(row.get(key), scale=100) for key in ("mean", "iqm", "improvement")]
        each = [tenths(row.get("tasks", {}).get(task), 100) for task in tasks]
        lines.append([rank, name, str(row["seeds"] or "–"), *cells, *each])
    days = "all" if suite["days"] is None else suite["days"]
    said = [
        f"# Leaderboard of suite {suite['name']}",
        f"{suite['description']}: {days} {suite['split']} days of each task, markets "
        f"{', '.join(suite['markets'])}, ledgers {', '.join(suite['ledgers'])}. A score of 100 is "
        "the optimum with perfect foresight, 0 the grid alone; brackets hold 95 % bootstrap "
        "intervals over days, and over training seeds where there are several. Bounds are in "
        "italics and have no rank.",
        piped(lines).rstrip(),
    ]
    gaps = [f"- {m['bidder']} has no row in {m['case']}: {m['line']}" for m in found["missing"]]
    gaps += [f"- {note}" for note in found["notes"]]
    if gaps:
        said += ["Missing:", "\n".join(gaps)]
    known = ", ".join(f"{k} {v}" for k, v in found["versions"].items() if v is not None)
    said += [
        f"Versions: {known}.",
        f"Again: `python evaluate.py suite={suite['name']}`. A row of your own: "
        "`docs/leaderboard.md`.",
    ]
    return "\n\n".join(said) + "\n"
