"""Data of a report's figures: plain, short, and packed so that a page can carry them."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridbazaar.evaluation import mechanisms, scores
from gridbazaar.evaluation.example_days import ExampleDays
from gridbazaar.evaluation.outcome import BOUNDS, OPTIMUM
from gridbazaar.evaluation.plots import title_of
from gridbazaar.evaluation.summary import strict

Row = Mapping[str, Any]
Array = NDArray[Any]
# What a reader may follow from day to day.
DAILY = (
    "community_cost",
    "savings",
    "self_sufficiency",
    "grid_import",
    "peak_import",
    "traded_energy",
    "mean_price",
    "seats_worse_off",
    "gini_of_savings",
    "operator_surplus",
    "limits_broken",
    "ledger_fees",
    "missed_orders",
    "finality_p50",
)
# Beyond so many combinations the days of the cheapest alone are in the page.
_DAYS_OF = 40
_DIGITS = 5


def packed(data: Mapping[str, Any]) -> str:
    """Return data as compressed JSON in base64, without what JSON cannot hold."""
    text = json.dumps(strict(data), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def collect(
    summary: Mapping[str, Any],
    episodes: pd.DataFrame,
    days: ExampleDays,
    curves: Mapping[str, pd.DataFrame],
) -> dict[str, Any]:
    """Return what the figures of a report are drawn from.

    Args:
        summary: what summary.json holds, with the times of timing.json.
        episodes: what episodes.parquet holds.
        days: the example days.
        curves: learning curves by bidder.
    """
    rows = summary["rows"]
    close = _closest(rows)
    return {
        "name": summary["config"]["name"],
        "unit": summary["kpis"]["community_cost"]["unit"],
        "currency": summary["kpis"]["community_cost"]["unit"].partition("/")[0],
        "kpis": summary["kpis"],
        "learned": list(summary["trained"]),
        "reference": _reference(rows, "difference"),
        "reference_market": _reference(rows, "market_difference"),
        "rows": [_row(row) for row in rows],
        "levels": scores.LEVELS.tolist(),
        "falls": summary["waterfalls"],
        "validation": summary["validation"],
        "band": summary["band"],
        "daily": _daily(episodes, rows, close),
        "slot_h": days.index["slot_h"],
        "days": _example_days(days, close),
        "curves": {name: _curve(curve) for name, curve in curves.items()},
    }


def _closest(rows: Sequence[Row]) -> list[int]:
    """Return the numbers of the rows whose days are in the page: all, or the cheapest."""
    there = [number for number, row in enumerate(rows) if row["bidder"] != OPTIMUM]
    order = sorted(there, key=lambda number: mechanisms.cost(rows[number]))
    alone = [number for number in there if rows[number]["baseline"]]
    return sorted({*order[:_DAYS_OF], *alone})


def _reference(rows: Sequence[Row], kind: str) -> str | None:
    return next((row[kind]["reference"] for row in rows if row[kind]), None)


def _row(row: Row) -> dict[str, Any]:
    """Return a row with its figures as lists of mean, low and high."""
    score = row["score"]
    kind = "alone" if row["baseline"] else "bound" if row["bidder"] in BOUNDS else "played"
    return {
        "title": title_of(row) + mechanisms.marks(row),
        "bidder": row["bidder"],
        "market": row["market"],
        "ledger": row["ledger"],
        "kind": kind,
        "kpis": _figures(row["kpis"]),
        "more": _figures(row["difference"]["kpis"]) if row["difference"] else None,
        "market_more": (
            _figures(row["market_difference"]["kpis"]) if row["market_difference"] else None
        ),
        "seeds": row["seeds"],
        "score": score and {name: score[name] for name in ("mean", "by_seed", "profile")},
        "deviations": row["deviations"],
        "voltages": row["voltages"],
    }


def _figures(kpis: Mapping[str, Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return mean, low and high of every figure that has a mean."""
    return {
        name: [_short(figure[key]) for key in ("mean", "low", "high")]
        for name, figure in kpis.items()
        if figure["mean"] is not None
    }


def _daily(episodes: pd.DataFrame, rows: Sequence[Row], close: Sequence[int]) -> dict[str, Any]:
    """Return key figures by day of data, [days] for each figure of each row; means over seeds."""
    names = [name for name in DAILY if name in episodes]
    keys = ["bidder", "market", "ledger", "first_slot"]
    means = episodes.groupby(keys, sort=True)[names].mean()
    first = sorted(episodes["first_slot"].unique().tolist())
    found = {}
    for number in close:
        row = rows[number]
        place = means.xs((row["bidder"], row["market"], row["ledger"])).reindex(first)
        found[number] = {name: _list(place[name].to_numpy()) for name in names}
    return {"first_slot": first, "figures": names, "rows": found}


def _example_days(days: ExampleDays, close: Sequence[int]) -> dict[str, Any]:
    """Return the community's example days: what all combinations share, and each one's own."""
    kept = [number for number in days.rows if number in set(close)]
    shared = {}
    if kept:
        one = days.of(kept[0], ("retail", "feed_in", "local_charge", "load_kw"))
        shared = {
            "retail": _list(one["retail"]),
            "feed_in": _list(one["feed_in"]),
            "local_charge": _list(one["local_charge"]),
            "load": _list(one["load_kw"].sum(-1)),
        }
    return {
        "first_slot": days.index["first_slot"],
        "slot_h": days.index["slot_h"],
        "shared": shared,
        "rows": {number: _community(days, number) for number in kept},
    }


def _community(days: ExampleDays, number: int) -> dict[str, list[Any]]:
    """Return [K, T] lists of one combination's days."""
    day, full = days.of(number), sum(days.index["battery_kwh"])
    battery, volts = day["battery_kw"], day["voltage_pu"]
    return {
        "price": _list(day["reference_price"]),
        "pv": _list(day["pv_kw"].sum(-1)),
        "given": _list(battery.clip(min=0).sum(-1)),
        "taken": _list(battery.clip(max=0).sum(-1)),
        "devices": _list(day["consumer_kw"].sum(-1)),
        "stored": _list(100 * day["stored_kwh"].sum(-1) / full) if full else [],
        "traded": _list(day["cleared_kw"].clip(min=0).sum(-1)),
        "low": _list(volts.min(-1)),
        "high": _list(volts.max(-1)),
        "cost": _list(day["cost"].sum(-1)),
        "finality": _list(day["finality_s"]),
        "missed": _list(day["missed"]),
        "reverted": _list(day["reverted"]),
    }


def _curve(curve: pd.DataFrame) -> dict[str, Any]:
    """Return a learning curve's columns of at most some hundred points."""
    thin = curve.iloc[:: -(-len(curve) // 400)]
    validated = curve[curve["validation_community_cost_eur_per_day"].notna()]
    return {
        "steps": _list(thin["agent_steps"]),
        "trained": _list(thin["train_community_cost_eur_per_day"]),
        "at": _list(validated["agent_steps"]),
        "validated": _list(validated["validation_community_cost_eur_per_day"]),
        "low": _list(validated["low"]),
        "high": _list(validated["high"]),
        "seeds": int(curve["seeds"].max()),
    }


def _list(values: Any) -> list[Any]:
    """Return numbers in few digits, nested as they were."""
    array = np.asarray(values)
    if array.ndim > 1:
        return [_list(part) for part in array]
    return [_short(value) for value in array.tolist()]


def _short(value: float | None) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
