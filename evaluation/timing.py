"""Computing times of an evaluation, apart from the figures that a seed reproduces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridbazaar.envs.kpis import Kpi
from gridbazaar.evaluation.summary import describe
from gridbazaar.evaluation.tournament import Tournament

CLEARING = Kpi(
    "clearing_time",
    "ms",
    "lower",
    "Computing time of one clearing of one market, on the machine of this run",
    group="market",
)


def timing(tournament: Tournament) -> dict[str, Any]:
    """Return what timing.json holds: a row per outcome, in the order of summary.json.

    A row has `bidder`, `market` and `ledger`; `clearing_time` in ms, absent for the optimum; and,
    where chains were signed, `record_s` and `verify_s` in seconds.
    """
    found = []
    for outcome in tournament.outcomes:
        place, audit = outcome.combination, outcome.audit
        row: dict[str, Any] = {
            "bidder": place.bidder,
            "market": place.market,
            "ledger": place.ledger,
        }
        if outcome.clearing_ms is not None:
            row[CLEARING.name] = outcome.clearing_ms
        if audit is not None:
            row |= {"record_s": audit.record_s, "verify_s": audit.verify_s}
        found.append(row)
    return {CLEARING.name: describe(CLEARING, tournament.facts.currency), "rows": found}


def timed(summary: Mapping[str, Any], times: Mapping[str, Any]) -> dict[str, Any]:
    """Return a summary to show: with `clearing_time` among the key figures and the audits' seconds.

    Args:
        summary: what summary.json holds.
        times: what timing.json of the same run holds.

    Raises:
        ValueError: the two list other outcomes.
    """
    rows = []
    names = ("bidder", "market", "ledger")
    for row, took in zip(summary["rows"], times["rows"], strict=True):
        if any(row[name] != took[name] for name in names):
            raise ValueError(
                f"timing.json has {[took[name] for name in names]} where summary.json has "
                f"{[row[name] for name in names]}, expected files of one run; evaluate again"
            )
        kpis, audit = row["kpis"], row["audit"]
        if CLEARING.name in took:
            figure = {"mean": took[CLEARING.name], "iqm": None, "low": None, "high": None}
            kpis = kpis | {CLEARING.name: figure | {"unit": CLEARING.unit}}
        if audit is not None:
            audit = audit | {name: took[name] for name in ("record_s", "verify_s")}
        rows.append(row | {"kpis": kpis, "audit": audit})
    kpi_table = summary["kpis"] | {CLEARING.name: times[CLEARING.name]}
    return dict(summary) | {"kpis": kpi_table, "rows": rows}
