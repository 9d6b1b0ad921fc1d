"""Comparison of market mechanisms: its columns, groups, shades and the notes beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridbazaar.evaluation.outcome import OPTIMUM

Row = Mapping[str, Any]
SUBSIDY, UNSOLVED = "*", "†"
# EUR a day that an operator adds; float32 books of a day balance to well within it.
_DEFICIT = 0.005


@dataclass(frozen=True)
class Column:
    """A key figure in the table of mechanisms.

    Attributes:
        name: of the key figure.
        head: short, for a terminal; `words` says it in full.
        digits: after the point.
        wide: whether its values span orders of magnitude.
    """

    name: str
    head: str
    words: str
    digits: int
    wide: bool = False


COLUMNS = (
    Column("community_cost", "cost", "community cost", 2),
    Column("savings_percent", "saved", "of the grid alone's cost", 1),
    Column("social_welfare", "welf", "welfare, the gains from trade", 2),
    Column("allocative_efficiency", "eff", "efficiency, of the most that the orders allowed", 1),
    Column("operator_surplus", "oper", "what the operator keeps", 2),
    Column("mean_price", "price", "mean", 3),
    Column("traded_energy", "kWh", "energy traded", 1),
    Column("gini_of_savings", "gini", "coefficient of savings", 2),
    Column("seats_worse_off", "worse", "off than with the grid alone", 1),
    Column("peak_import", "peak", "import", 1),
    Column("voltage_violations", "volt", "voltage violations", 2),
    Column("overloads", "over", "overloads", 2),
    Column("market_messages", "msgs", "messages of the mechanism beside the orders", 0, wide=True),
    Column("transactions", "txs", "transactions on the ledger", 0, wide=True),
    Column("clearing_time", "ms", "computing time of a clearing", 3, wide=True),
)
# Only where it was sought.
EXPLOITED = (
    Column("exploitability", "expl", "what one seat gains by playing otherwise, at least", 2),
    Column("coalition_gain", "coal", "what all seats of a role gain likewise, at least", 2),
)


def columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return the columns of a table of these rows."""
    found = any(EXPLOITED[0].name in row["kpis"] for row in rows)
    return COLUMNS + EXPLOITED * found


@dataclass(frozen=True)
class Group:
    """The mechanisms under one bidder and one ledger, cheapest first."""

    title: str
    bidder: str
    ledger: str
    rows: tuple[Row, ...]


def several(rows: Sequence[Row]) -> bool:
    """Return whether rows compare markets, beside the grid alone."""
    return len({row["market"] for row in rows if not is_reference(row)}) > 1


def is_reference(row: Row) -> bool:
    """Return whether a row is the optimum or the grid alone."""
    return bool(row["baseline"]) or row["bidder"] == OPTIMUM


def references(rows: Sequence[Row]) -> list[Row]:
    """Return the optimum and the grid alone."""
    return sorted(filter(is_reference, rows), key=cost)


def subsidised(row: Row) -> bool:
    """Return whether the operator adds money, so that the optimum is no bound."""
    return -_value(row, "operator_surplus") > _DEFICIT


def groups(rows: Sequence[Row]) -> list[Group]:
    """Return the rows that are compared, by ledger and bidder in the order in which they play."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if not is_reference(row):
            found.setdefault((row["ledger"], row["bidder"]), []).append(row)
    ledgers = list(dict.fromkeys(ledger for ledger, _ in found))
    ordered = sorted(found.items(), key=lambda item: ledgers.index(item[0][0]))
    return [
        Group(
            bidder if len(ledgers) == 1 else f"{bidder} · {ledger}",
            bidder,
            ledger,
            tuple(sorted(members, key=cost)),
        )
        for (ledger, bidder), members in ordered
    ]


def cost(row: Row) -> float:
    """Return a row's mean community cost; infinite of an optimum that is missing."""
    mean = row["kpis"]["community_cost"]["mean"]
    return math.inf if mean is None else float(mean)


def marks(row: Row) -> str:
    """Return the marks that a row needs; `notes` explains them."""
    unsolved = _value(row, "unsolved_clearings") > 0
    return SUBSIDY * subsidised(row) + UNSOLVED * unsolved


def notes(rows: Sequence[Row]) -> list[str]:
    """Return what the marks of the rows mean; nothing where there are none."""
    found = []
    if any(SUBSIDY in marks(row) for row in rows):
        found.append(
            f"{SUBSIDY} The operator adds money: the seats' cost leaves it out, and the optimum, "
            "which knows no subsidy, does not bound it."
        )
    share: dict[str, float] = {}
    for row in rows:
        if UNSOLVED in marks(row):
            name = row["market"]
            share[name] = max(share.get(name, 0.0), _value(row, "unsolved_clearings"))
    if share:
        most = ", ".join(f"{name} {_percent(value)}" for name, value in share.items())
        found.append(
            f"{UNSOLVED} Intervals in which the mechanism did not converge were left to the grid, "
            f"at most: {most}."
        )
    return found


def shown(row: Row, column: Column) -> str:
    """Write a figure with its column's digits, without a minus before zero; a dash without one."""
    value = _value(row, column.name)
    if not math.isfinite(value):
        return "–"
    return _short(value, column.digits) if column.wide else _fixed(value, column.digits)


def more(row: Row) -> str:
    """Write what a row costs more than the reference market, and half of the 95 % interval.

    Of a single day there is no interval.
    """
    paired = (row["market_difference"] or {"kpis": {}})["kpis"].get("community_cost")
    if paired is None:
        return ""
    half = (paired["high"] - paired["low"]) / 2
    mean, span = _fixed(paired["mean"], 2), f" ±{_fixed(half, 2)}" if half else ""
    return f"{'' if mean.startswith('-') else '+'}{mean}{span}"


def reference_market(rows: Sequence[Row]) -> str:
    """Return the market that `more` refers to."""
    found = (row["market_difference"] for row in rows)
    return next((difference["reference"] for difference in found if difference), "none")


def shades(rows: Sequence[Row], column: Column, better: str) -> list[float]:
    """Return where each figure stands among the rows', from -1 (worst) to 1 (best).

    Wide columns are compared by their logarithm. Where figures differ by less than a tenth, or by
    less than tenfold in a wide column, they stand closer to 0. NaN for a figure that is missing, or
    that has no better side.
    """
    values = [_value(row, column.name) for row in rows]
    if column.wide:
        values = [math.log10(value + 10**-column.digits) for value in values]
    finite = [value for value in values if math.isfinite(value)]
    if better == "-" or not finite:
        return [math.nan] * len(values)
    low, high = min(finite), max(finite)
    span = high - low
    whole = 1.0 if column.wide else 0.1 * max(abs(low), abs(high))
    if not span:
        return [0.0 if math.isfinite(value) else math.nan for value in values]
    reach = min(1.0, span / whole) * (1 if better == "higher" else -1)
    return [reach * (2 * (value - low) / span - 1) for value in values]


def _fixed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def _short(value: float, digits: int) -> str:
    """Write three digits of a thousand and more."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{value / size:.{max(0, 2 - int(math.log10(value / size)))}f}{letter}"
    return _fixed(value, digits)


def _percent(value: float) -> str:
    return f"{value:.0f} %" if value >= 0.5 else "below 1 %"


def _value(row: Row, name: str) -> float:
    value = row["kpis"].get(name, {}).get("mean")
    return math.nan if value is None else float(value)
