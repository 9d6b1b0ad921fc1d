"""Results as others read them: a pandas frame of the summary, and marl-eval's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gridbazaar.agents.run_set import members
from gridbazaar.errors import DataError
from gridbazaar.evaluation.config import GRID_ONLY, is_learned, label
from gridbazaar.evaluation.learning_curves import read_curves
from gridbazaar.evaluation.outcome import BOUNDS

SUMMARY, EPISODES = "summary.json", "episodes.parquet"
Part = Literal["kpis", "difference", "market_difference"]
# What marl-eval gets of a day: its own name for what is to be large, and the cost in EUR.
_RETURN, _COST = "return", "community_cost"


def summary_frame(folder: str | Path, part: Part = "kpis") -> pd.DataFrame:
    """Return a line per bidder, market, ledger and key figure of an evaluation.

    Columns: task, bidder, market, ledger, kpi, unit, better, mean, iqm, low, high (95 % interval of
    the mean), and `reference` where differences are asked for. `.pivot_table(...)` makes a table.

    Args:
        folder: that an evaluation wrote.
        part: the figures themselves, their difference from the reference bidder's, or from the
            reference market's.

    Raises DataError where there is no such evaluation.
    """
    summary = _summary(Path(folder))
    lines = []
    for row in summary["rows"]:
        place = {
            "task": summary["task"],
            **{key: row[key] for key in ("bidder", "market", "ledger")},
        }
        found, reference = row["kpis"], {}
        if part != "kpis":
            if row[part] is None:
                continue
            found, reference = row[part]["kpis"], {"reference": row[part]["reference"]}
        for name, figure in found.items():
            about = {"kpi": name, "better": summary["kpis"][name]["better"]}
            lines.append({**place, **reference, **about, **figure})
    front = ["task", "bidder", "market", "ledger", "kpi", "unit", "better", "mean", "iqm"]
    frame = pd.DataFrame(lines, columns=None if lines else front)
    return frame[[*front, *(column for column in frame if column not in front)]]


def marl_eval(folder: str | Path) -> dict[str, Any]:
    """Return an evaluation by the format of marl-eval (Gorsane et al. 2022), ready for `json.dump`.

    environment `gridbazaar` -> task, market and ledger -> bidder -> a run per training seed:
    `absolute_metrics` holds each day's `community_cost` in EUR and its negative as `return`;
    `step_0`, ... the validated ones of the run's curve where its folder still is there, else the
    evaluation itself at no steps. Bounds and the grid alone are no algorithms and left out.

    Raises DataError where there is no such evaluation, or a run's curve cannot be read.
    """
    folder = Path(folder)
    summary = _summary(folder)
    days = pd.read_parquet(folder / EPISODES)
    days = days[~days["bidder"].isin(BOUNDS) & (days["market"] != GRID_ONLY)]
    bidders = filter(is_learned, summary["config"]["bidder"])
    runs = {label(name): members(name) for name in bidders}
    tasks: dict[str, Any] = {}
    for place, rows in days.groupby(["market", "ledger", "bidder", "training_seed"], sort=False):
        market, ledger, bidder, seed = (str(part) for part in place)
        task = tasks.setdefault(f"{summary['task']} {market} {ledger}", {})
        last = _metrics(rows[_COST].tolist())
        steps = _steps(runs.get(bidder, {}).get(seed)) or {"step_0": {"step_count": 0, **last}}
        task.setdefault(bidder, {})[f"seed_{seed or 0}"] = {**steps, "absolute_metrics": last}
    return {"gridbazaar": tasks}


def _metrics(cost: list[float]) -> dict[str, list[float]]:
    return {_RETURN: [-value for value in cost], _COST: cost}


def _steps(run: str | None) -> dict[str, Any]:
    """Return the validated points of a run's curve; none where there is no curve."""
    curve = read_curves(run) if run is not None and Path(run).is_dir() else None
    if curve is None:
        return {}
    validated = curve.dropna(subset="validation_community_cost_eur_per_day")
    points = zip(
        validated["agent_steps"],
        validated["seconds"],
        validated["validation_community_cost_eur_per_day"],
        strict=True,
    )
    return {
        f"step_{number}": {
            "step_count": int(steps),
            "elapsed_time": float(seconds),
            **_metrics([float(cost)]),
        }
        for number, (steps, seconds, cost) in enumerate(points)
    }


def _summary(folder: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        found["rows"], found["kpis"], found["config"]["bidder"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} holds no {SUMMARY} of an evaluation ({type(error).__name__}: {error}); give "
            "the folder that `gridbazaar evaluate` wrote"
        ) from None
    return found
