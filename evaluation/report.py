"""Report of an evaluation: one HTML file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import yaml

from gridbazaar.envs.kpis import GROUPS
from gridbazaar.evaluation import answers, mechanisms, page
from gridbazaar.evaluation.exploited import lines as deviation_lines
from gridbazaar.evaluation.figures import cell, interval, number, percent, tenths
from gridbazaar.evaluation.outcome import OPTIMUM
from gridbazaar.evaluation.plots import title_of
from gridbazaar.evaluation.provenance import said
from gridbazaar.evaluation.report_data import packed
from gridbazaar.evaluation.strategies import lines as strategy_lines
from gridbazaar.evaluation.verdicts import headlines, of_bidders, of_markets
from gridbazaar.evaluation.waterfall import MEANINGS

Row = Mapping[str, Any]
# Blue to orange, as in the plots; pale, so that figures stay readable.
_BEST, _WORST, _STRONGEST = "0, 114, 178", "230, 159, 0", 0.42


def render(summary: Mapping[str, Any], data: Mapping[str, Any], days: str) -> str:
    """Return the report.

    Args:
        summary: what summary.json holds, with the times of timing.json.
        data: what its figures are drawn from, see report_data.
        days: which days were played, in words.
    """
    rows = sorted(summary["rows"], key=mechanisms.cost)
    compared = mechanisms.several(rows)
    answered = {
        "bound": answers.bound(summary),
        "seeds": answers.seeds(summary),
        "validation": answers.validation(summary),
        "selfish": answers.selfish(summary),
    }
    return page.render(
        "report.html.j2",
        packed(data),
        ("figures.js", "compare.js", "questions.js", "days.js"),
        cell=cell,
        heading=heading,
        number=number,
        interval=interval,
        title_of=lambda row: title_of(row) + mechanisms.marks(row),
        more=mechanisms.more,
        marks=mechanisms.marks,
        shown=mechanisms.shown,
        summary=summary,
        days=days,
        rows=rows,
        played=[row for row in rows if row["bidder"] != OPTIMUM],
        headlines=headlines(summary),
        verdicts=[v for v in (of_markets(rows), of_bidders(rows)) if v],
        provenance=[said(name, given) for name, given in summary["trained"].items() if given],
        answers=answered,
        missing=answers.missing(summary, answered),
        columns=mechanisms.columns(rows),
        mechanisms=coloured(summary) if compared else [],
        references=mechanisms.references(rows),
        reference_market=mechanisms.reference_market(rows),
        notes=mechanisms.notes(rows),
        learning=bool(data["curves"]),
        strategies=strategy_lines(summary),
        deviations=deviation_lines(summary),
        scores=scored(rows),
        steps=MEANINGS,
        tables=tables(summary["kpis"]),
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
        cells = [percent(score[name], scale=100) for name in ("mean", "iqm", "improvement")]
        span = f"{tenths(min(seeds), 100)} to {tenths(max(seeds), 100)}" if len(seeds) > 1 else ""
        lines.append((title_of(row), [str(len(row["seeds"]) or "–"), *cells, span]))
    return lines


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


def heading(name: str) -> str:
    """Return a key figure's name in words; its unit stands beside it."""
    return "saved" if name == "savings_percent" else name.replace("_", " ")
