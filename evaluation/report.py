"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from evaluation.plots import title_of
from evaluation.tournament import OPTIMUM

_COMPARISON = (
    "community_cost",
    "savings",
    "savings_percent",
    "optimum_share",
    "seats_worse_off",
    "self_sufficiency",
    "self_consumption",
    "peak_import",
    "carbon",
)
_MARKET = (
    "traded_energy",
    "mean_price",
    "social_welfare",
    "allocative_efficiency",
    "broken_commitments",
    "operator_surplus",
    "gini_of_savings",
    "unserved_ev",
    "full_cycles",
    "unsolved_clearings",
    "clearing_rounds",
    "clearing_time",
)
_NETWORK = (
    "min_voltage",
    "max_voltage",
    "voltage_violations",
    "overloads",
    "max_line_loading",
    "max_transformer_loading",
    "losses",
    "unsolved_flows",
)
_LEDGER = (
    "transactions",
    "market_messages",
    "ledger_fees",
    "missed_orders",
    "confirmation_p50",
    "confirmation_p99",
    "finality_p50",
    "finality_p99",
    "locked_money",
    "reverted_slots",
)
Row = Mapping[str, Any]


def render(summary: Mapping[str, Any], plots: Mapping[str, Path], days: str) -> str:
    """Return the report.

    Args:
        summary: what summary.json holds, with the times of timing.json.
        plots: PNG file by name: cost, differences, savings, roles, voltages, day, learning; those
            that are absent leave their section out.
        days: which days were played, in words.
    """
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.globals.update(cell=cell, heading=heading, interval=interval, title_of=title_of)
    rows = sorted(summary["rows"], key=_cost)
    return environment.get_template("report.html.j2").render(
        summary=summary,
        days=days,
        rows=rows,
        played=[row for row in rows if row["bidder"] != OPTIMUM],
        headlines=headlines(summary["rows"]),
        verdicts=verdicts(summary["rows"]),
        tables={"comparison": _COMPARISON, "market": _MARKET, "network": _NETWORK,
                "ledger": _LEDGER},
        images={name: _inline(path) for name, path in plots.items()},
        config=yaml.safe_dump(summary["config"], sort_keys=False, allow_unicode=True),
    )  # fmt: skip


def headlines(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the few numbers that a reader wants first, each with what it means."""
    alone = next(row for row in rows if row["baseline"])
    best = min((r for r in rows if r["bidder"] != OPTIMUM), key=_cost)
    unit = best["kpis"]["community_cost"]["unit"]
    entries = [
        (
            f"{best['kpis']['community_cost']['mean']:.2f} {unit}",
            f"community cost of {title_of(best)}, the cheapest",
        ),
        (f"{alone['kpis']['community_cost']['mean']:.2f} {unit}", "with the grid alone"),
    ]
    for name, words in (
        ("savings_percent", "saved over the grid alone"),
        ("optimum_share", "of what perfect foresight would save"),
    ):
        value = best["kpis"][name]["mean"]
        if value is not None and best is not alone:
            entries.append((f"{value:.1f} %", words))
    return entries


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Return a sentence per market and ledger on the reference against the other bidders."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["difference"]:
            groups.setdefault((row["market"], row["ledger"]), []).append(row)
    sentences = []
    for (market, ledger), others in groups.items():
        figures = [row["difference"]["kpis"]["community_cost"] for row in others]
        cheaper = [f for f in figures if f["low"] is not None and f["low"] > 0]
        dearer = [f for f in figures if f["high"] is not None and f["high"] < 0]
        open_ = len(figures) - len(cheaper) - len(dearer)
        reference = others[0]["difference"]["reference"].replace("_", " ")
        sentences.append(
            f"{market.replace('_', ' ')} on the {ledger} ledger: {reference} costs the community "
            f"less than {len(cheaper)} of {len(figures)} other bidders and more than "
            f"{len(dearer)}, with 95 % intervals of the paired daily differences on one side of "
            "zero" + (f"; {open_} cannot be told apart." if open_ else ".")
        )
    return sentences


def cell(figure: Mapping[str, Any] | None) -> str:
    """Format a mean; an en dash where there is none."""
    return "–" if figure is None else number(figure["mean"])


def interval(figure: Mapping[str, Any] | None) -> str:
    """Format an interval; nothing where it has no width."""
    if figure is None or figure["low"] is None or figure["low"] == figure["high"]:
        return ""
    return f"{number(figure['low'])} to {number(figure['high'])}"


def heading(name: str) -> str:
    """Return a key figure's name in words; its unit stands beside it."""
    return "saved" if name == "savings_percent" else name.replace("_", " ")


def number(value: float | None) -> str:
    """Write a number with three or more significant digits, without a minus before zero."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def _cost(row: Row) -> float:
    return float(row["kpis"]["community_cost"]["mean"])


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
