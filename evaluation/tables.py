"""Tables of a comparison: aligned for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from gridbazaar.evaluation import mechanisms
from gridbazaar.evaluation.exploited import lines as deviation_lines
from gridbazaar.evaluation.figures import cell, spanned
from gridbazaar.evaluation.mechanisms import Row, marks
from gridbazaar.evaluation.plots import title_of
from gridbazaar.evaluation.provenance import said
from gridbazaar.evaluation.report import heading, scored
from gridbazaar.evaluation.strategies import lines as strategy_lines

BIDDER_COLUMNS = (
    "community_cost",
    "savings_percent",
    "optimum_share",
    "self_sufficiency",
    "seats_worse_off",
    "ledger_fees",
)
_WIDTH = 128
Summary = Mapping[str, Any]
Line = list[str]


def terminal(summary: Summary) -> str:
    """Return the comparison as aligned lines: of markets where several play, else of bidders.

    What each strategy of a mixed population earned, and who could gain by another, comes below.

    Args:
        summary: what summary.json holds, with the times of timing.json.
    """
    further = filter(None, (strategy_lines(summary), deviation_lines(summary)))
    return "\n\n".join([_comparison(summary), *(_aligned(lines, "  ") for lines in further)])


def _comparison(summary: Summary) -> str:
    rows = summary["rows"]
    warned = "".join(f"\n{fill(line, _WIDTH)}" for line in _learned(summary))
    if not mechanisms.several(rows):
        text = _aligned(of_bidders(summary), "  ") + "\n"
        if any(row["seeds"] for row in rows):
            text += f"\n{_aligned(of_scores(rows), '  ')}\n"
        return (text + warned).rstrip("\n")
    columns = mechanisms.columns(rows)
    lines = [["market", *_heads(columns)]]
    lines += [_line(row, columns) for row in mechanisms.references(rows)]
    for group in mechanisms.groups(rows):
        lines += [
            [],
            [group.title],
            *([f"  {name}", *cells] for name, *cells in (_line(r, columns) for r in group.rows)),
        ]
    legend = "\n".join(fill(part, _WIDTH) for part in _legend(summary))
    return f"{_aligned(lines, ' ')}\n\n{legend}{warned}"


def markdown(summary: Summary) -> str:
    """Return the same as Markdown, with what its figures mean and the days they are of.

    Args:
        summary: what summary.json holds, with the times of timing.json.
    """
    rows, days = summary["rows"], summary["days"]
    played = f"{days['count']} days of the {days['split']} split, task `{summary['task']}`."
    further = filter(None, (strategy_lines(summary), deviation_lines(summary)))
    below = "".join(f"\n{piped(lines)}" for lines in further)
    warned = "".join(f"\n{line}\n" for line in _learned(summary))
    if not mechanisms.several(rows):
        scored = of_scores(rows)
        more = f"\n{piped(scored)}" if len(scored) > 1 else ""
        return f"{piped(of_bidders(summary))}\n{played}\n{more}{warned}{below}"
    text = "\n\n".join([piped(of_markets(rows)).rstrip(), played, *_legend(summary)])
    return text.replace("*", r"\*") + "\n" + warned + below


def of_markets(rows: Sequence[Row]) -> list[Line]:
    """Return a line per bidder, ledger and market, below their head."""
    columns = mechanisms.columns(rows)
    lines = [["bidder", "market", *_heads(columns)]]
    lines += [["", *_line(row, columns)] for row in mechanisms.references(rows)]
    for group in mechanisms.groups(rows):
        named = ([f"`{row['market']}`{marks(row)}", *_line(row, columns)[1:]] for row in group.rows)
        lines += [[group.title, *line] for line in named]
    return lines


def _learned(summary: Summary) -> Line:
    """Return what learned bidders were trained on, and a warning where they play elsewhere."""
    known = {name: given for name, given in summary["trained"].items() if given is not None}
    return [*(said(name, given) for name, given in known.items()), *summary["warnings"]]


def of_bidders(summary: Summary) -> list[Line]:
    """Return a line per combination, cheapest first, below their head."""
    kpis, rows = summary["kpis"], summary["rows"]
    head = ["bidder · market · ledger"]
    head += [f"{heading(name)}, {kpis[name]['unit']}" for name in BIDDER_COLUMNS]
    reference = next((r["difference"]["reference"] for r in rows if r["difference"]), "")
    if reference:
        unit = kpis[BIDDER_COLUMNS[0]]["unit"]
        head.append(f"dearer than {reference}, same day, market and ledger, {unit}")
    lines = [head]
    for row in sorted(rows, key=mechanisms.cost):
        cost, *others = (row["kpis"].get(name) for name in BIDDER_COLUMNS)
        cells = [title_of(row) + marks(row), spanned(cost), *map(cell, others)]
        if reference:
            paired = (row["difference"] or {"kpis": {}})["kpis"].get(BIDDER_COLUMNS[0])
            cells.append(spanned(paired) if paired else "")
        lines.append(cells)
    return lines


def of_scores(rows: Sequence[Row]) -> list[Line]:
    """Return a line per scored combination below their head, see report.scored."""
    head = ["bidder · market · ledger", "seeds", "score, %", "IQM, %", "better than reference, %"]
    return [[*head, "seeds' span, %"], *([name, *cells] for name, cells in scored(rows))]


def _heads(columns: Sequence[mechanisms.Column]) -> Line:
    cost, *others = (column.head for column in columns)
    return [cost, "more", *others]


def _line(row: Row, columns: Sequence[mechanisms.Column]) -> Line:
    """Return a row's cells below `market` and `_heads`."""
    name = title_of(row) if mechanisms.is_reference(row) else row["market"]
    cost, *others = (mechanisms.shown(row, column) for column in columns)
    return [name + marks(row), cost, mechanisms.more(row), *others]


def _legend(summary: Summary) -> list[str]:
    """Return what the heads and marks mean."""
    rows, meanings = summary["rows"], []
    for column in mechanisms.columns(rows):
        unit = summary["kpis"][column.name]["unit"]
        meanings.append(f"{column.head}: {column.words}" + (f", {unit}" if unit != "1" else ""))
    reference = mechanisms.reference_market(rows)
    meanings.insert(1, f"more: than {reference} on the same days, ± half the 95 % interval")
    return ["; ".join(meanings) + ".", *mechanisms.notes(rows)]


def _aligned(lines: Sequence[Line], gap: str) -> str:
    """Return columns of equal width; a line of one cell is a title, which may be longer."""
    full = [line for line in lines if len(line) > 1]
    width = [max(map(len, column)) for column in zip(*full, strict=True)]
    return "\n".join(
        gap.join(
            c.ljust(w) if k == 0 else c.rjust(w)
            for k, (c, w) in enumerate(zip(line, width, strict=False))
        ).rstrip()
        for line in lines
    )


def piped(lines: Sequence[Line]) -> str:
    """Return lines as a table in Markdown, the first as its head."""
    head, *body = lines
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ruler, *body))
