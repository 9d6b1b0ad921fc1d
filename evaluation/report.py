"""Report of an evaluation: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2
import yaml

from gridbazaar.envs.kpis import GROUPS
from gridbazaar.evaluation import mechanisms
from gridbazaar.evaluation.exploited import lines as deviation_lines
from gridbazaar.evaluation.figures import cell, interval, number
from gridbazaar.evaluation.plots import title_of
from gridbazaar.evaluation.strategies import lines as strategy_lines
from gridbazaar.evaluation.tournament import BOUNDS, OPTIMUM
from gridbazaar.evaluation.waterfall import MEANINGS

Row = Mapping[str, Any]
# Blue to orange, as in the plots; pale, so that figures stay readable.
_BEST, _WORST, _STRONGEST = "0, 114, 178", "230, 159, 0", 0.42
# EUR a day; markets of the same trades differ by rounding alone.
_ROUNDING = 0.001


def render(summary: Mapping[str, Any], plots: Mapping[str, Path], days: str) -> str:
    """Return the report.

    Args:
        summary: what summary.json holds, with the times of timing.json.
        plots: PNG file by name: cost, differences, waterfall, mechanisms, heat, savings, profile,
            roles, voltages, day, learning; those that are absent leave their place out.
        days: which days were played, in words.
    """
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.globals.update(
        cell=cell,
        heading=heading,
        number=number,
        interval=interval,
        title_of=lambda row: title_of(row) + mechanisms.marks(row),
        more=mechanisms.more,
        marks=mechanisms.marks,
        shown=mechanisms.shown,
    )
    rows = sorted(summary["rows"], key=mechanisms.cost)
    compared = mechanisms.several(rows)
    return environment.get_template("report.html.j2").render(
        summary=summary,
        days=days,
        rows=rows,
        played=[row for row in rows if row["bidder"] != OPTIMUM],
        headlines=headlines(summary["rows"]),
        verdicts=(market_verdicts if compared else verdicts)(summary["rows"]),
        folded=verdicts(summary["rows"]) if compared else [],
        columns=mechanisms.columns(rows),
        mechanisms=coloured(summary) if compared else [],
        references=mechanisms.references(rows),
        reference_market=mechanisms.reference_market(rows),
        notes=mechanisms.notes(rows),
        strategies=strategy_lines(summary),
        deviations=deviation_lines(summary),
        scores=scored(rows),
        steps=MEANINGS,
        tables=tables(summary["kpis"]),
        images={name: _inline(path) for name, path in plots.items()},
        config=yaml.safe_dump(summary["config"], sort_keys=False, allow_unicode=True),
    )


def tables(described: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the key figures of each group's table, in the order in which they were entered."""
    return {
        group: [name for name, figure in described.items() if figure["group"] == group]
        for group in GROUPS
    }


def scored(rows: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Return a line per scored combination, the best first: its name and its cells.

    These are training seeds, score, interquartile mean and the chance to be better than the
    reference, in % with 95 % intervals, and the lowest and highest seed's mean.
    """
    lines = []
    known = [row for row in rows if row["score"] and not mechanisms.is_reference(row)]
    for row in sorted(known, key=lambda row: -row["score"]["mean"]["mean"]):
        score, seeds = row["score"], row["score"]["by_seed"]
        cells = [_percent(score[name]) for name in ("mean", "iqm", "improvement")]
        span = f"{100 * min(seeds):.1f} to {100 * max(seeds):.1f}" if len(seeds) > 1 else ""
        lines.append((title_of(row), [str(len(row["seeds"]) or "–"), *cells, span]))
    return lines


def _percent(figure: Mapping[str, float] | None) -> str:
    """Write a share and its interval in %; nothing where there is none."""
    if figure is None:
        return ""
    mean, low, high = (round(100 * figure[key], 1) + 0.0 for key in ("mean", "low", "high"))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def headlines(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the few numbers that a reader wants first, each with what it means.

    The cheapest is sought among those to which the operator adds no money.
    """
    alone = next(row for row in rows if row["baseline"])
    played = [r for r in rows if r["bidder"] not in BOUNDS and not mechanisms.subsidised(r)]
    best = min(played, key=mechanisms.cost)
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
        ("planner_share", "of what a central planner saves who knows what the seats know"),
    ):
        value = best["kpis"].get(name, {}).get("mean")
        if value is not None and best is not alone:
            entries.append((f"{value:.1f} %", words))
    return entries


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Return a sentence per market and ledger on the reference against the other bidders."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["difference"] and row["bidder"] not in BOUNDS:
            groups.setdefault((row["market"], row["ledger"]), []).append(row)
    sentences = []
    for (market, ledger), others in groups.items():
        figures = [row["difference"]["kpis"]["community_cost"] for row in others]
        cheaper, dearer, open_ = _sides(figures)
        reference = others[0]["difference"]["reference"].replace("_", " ")
        sentences.append(
            f"{market.replace('_', ' ')} on the {ledger} ledger: {reference} costs the community "
            f"less than {dearer} of {len(figures)} other bidders and more than "
            f"{cheaper}, with 95 % intervals of the paired daily differences on one side of "
            "zero" + (f"; {open_} cannot be told apart." if open_ else ".")
        )
    return sentences


def market_verdicts(rows: Sequence[Row]) -> list[str]:
    """Return a sentence per bidder and ledger on the other markets against the reference market."""
    sentences = []
    for group in mechanisms.groups([row for row in rows if row["bidder"] not in BOUNDS]):
        others = [
            row["market_difference"]
            for row in group.rows
            if row["market_difference"] and not mechanisms.subsidised(row)
        ]
        if not others:
            continue
        cheaper, dearer, open_ = _sides([other["kpis"]["community_cost"] for other in others])
        reference = others[0]["reference"].replace("_", " ")
        sentences.append(
            f"{group.title.replace('_', ' ')}: of {len(others)} other markets without subsidy "
            f"{dearer} cost the community more than {reference} and {cheaper} cost less on the "
            f"same days, with 95 % intervals on one side of zero; {open_} cannot be told apart."
        )
    return sentences


def coloured(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table of mechanisms by group: its title, and rows with text and style of cells.

    A cell's colour says where its figure stands between the best and the worst of all groups.
    """
    groups = mechanisms.groups(summary["rows"])
    rows = [row for group in groups for row in group.rows]
    columns = [
        _coloured(rows, column, summary["kpis"][column.name]["better"])
        for column in mechanisms.columns(rows)
    ]
    lines = iter(zip(rows, zip(*columns, strict=True), strict=True))
    return [
        {"title": group.title.replace("_", " "), "rows": list(islice(lines, len(group.rows)))}
        for group in groups
    ]


def _coloured(rows: Sequence[Row], column: mechanisms.Column, better: str) -> list[tuple[str, str]]:
    """Return text and style of a column's cells."""
    shades = mechanisms.shades(rows, column, better)
    texts = [mechanisms.shown(row, column) for row in rows]
    return [(text, _colour(shade)) for text, shade in zip(texts, shades, strict=True)]


def _colour(shade: float) -> str:
    if math.isnan(shade):
        return ""
    hue = _BEST if shade > 0 else _WORST
    return f"background: rgba({hue}, {_STRONGEST * abs(shade):.2f})"


def _sides(differences: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    """Count the differences whose interval is below zero, above it, and those that include it."""
    below = sum(d["high"] is not None and d["high"] < -_ROUNDING for d in differences)
    above = sum(d["low"] is not None and d["low"] > _ROUNDING for d in differences)
    return below, above, len(differences) - below - above


def heading(name: str) -> str:
    """Return a key figure's name in words; its unit stands beside it."""
    return "saved" if name == "savings_percent" else name.replace("_", " ")


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
