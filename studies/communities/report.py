"""Report of the community study: break-even sizes and tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gridbazaar.studies.ledger.text import rounded

_ROUNDING = 1e-4  # EUR a day: what float32 makes of a day's bill
CASE = ["market", "ledger"]


class Line(NamedTuple):
    """A straight line through figures of communities of several sizes; `r2` is its fit."""

    start: float
    slope: float
    r2: float


def fit(seats: ArrayLike, values: ArrayLike) -> Line:
    """Return the line of least squared residuals per seat, as the scatter grows with the size.

    Raises:
        ValueError: for fewer than two sizes.
    """
    x, y = np.asarray(seats, float), np.asarray(values, float)
    if len(np.unique(x)) < 2:
        raise ValueError(f"communities of {np.unique(x)} seats; a line needs two sizes")
    slope, start = np.polyfit(x, y, 1, w=1 / x)
    spread = ((y - y.mean()) ** 2).sum()
    rest = ((y - start - slope * x) ** 2).sum()
    return Line(float(start), float(slope), float(1 - rest / spread) if spread else 1.0)


def break_even(seats: ArrayLike, left: ArrayLike) -> float:
    """Return the seats from which on more is saved than the ledger takes; inf for never.

    The zero of the line through `left`, savings less what the ledger takes, where it rises.
    """
    line = fit(seats, left)
    return math.inf if line.slope <= 0 else max(0.0, -line.start / line.slope)


def without_one(seats: ArrayLike, left: ArrayLike) -> tuple[float, float]:
    """Return the least and the most that `break_even` comes to with any one size left out."""
    x, y = np.asarray(seats, float), np.asarray(left, float)
    found = [break_even(np.delete(x, k), np.delete(y, k)) for k in range(len(x))]
    return min(found), max(found)


def in_words(seats: float, smallest: float, largest: float) -> str:
    """Return a break-even size as a table shows it: `<` and `~` where it was not played."""
    if math.isinf(seats):
        return "never"
    if seats < smallest:
        return f"< {smallest:g}"
    return f"{'~' if seats > largest else ''}{rounded(math.ceil(seats), 2)}"


def with_shares(played: pd.DataFrame, carbon_kg_per_kwh: float) -> pd.DataFrame:
    """Return the means over draws with what follows from them.

    `charged` is what the members lose and are charged, `paid` what they lose and pay where they run
    the validators of a ledger that serves them alone and so get its fees back; `eaten` is the share
    of the savings in `paid`, %. Energy in kWh and carbon in g per kWh traded.
    """
    means = played.groupby(["task", "share", *CASE], sort=False).mean(numeric_only=True)
    means = means.drop(columns="draw").reset_index()
    means["lost"] = means.lost.where(means.lost.abs() > _ROUNDING, 0.0)
    means["charged"] = means.lost + means.fees
    means["paid"] = means.lost + means.nodes.fillna(means.fees)
    for name in ("paid", "charged", "lost"):
        means[f"{name}_percent"] = 100 * means[name] / means.saved
    means["energy_per_kwh"] = means.ledger_energy / means.traded_energy
    means["carbon_g_per_kwh"] = 1000 * carbon_kg_per_kwh * means.energy_per_kwh
    return means


def grown(means: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the task that was played in several sizes."""
    return means[means.task == means.task[means.share < 1].iloc[0]]


def break_evens(means: pd.DataFrame) -> pd.DataFrame:
    """Return a row per market and ledger: lines against seats, and where they cross the savings."""
    found = []
    for case, rows in grown(means).groupby(CASE, sort=False):
        taken, left = fit(rows.seats, rows.paid), rows.saved - rows.paid
        low, high = without_one(rows.seats, left)
        found.append(
            {
                **dict(zip(CASE, case, strict=True)),
                "fixed": taken.start,
                "per_seat": taken.slope,
                "r2": fit(rows.seats, left).r2,
                "paid": break_even(rows.seats, left),
                "low": low,
                "high": high,
                "charged": break_even(rows.seats, rows.saved - rows.charged),
            }
        )
    return pd.DataFrame(found)


def label(ledger: str) -> str:
    """Return a ledger with its layers as it is shown."""
    return ledger.replace("_", " ").replace("+", " + ")


def by_cost(means: pd.DataFrame) -> list[str]:
    """Return the ledgers, the one first that takes least of the largest community's savings."""
    rows = grown(means)
    whole = rows[(rows.share == 1) & (rows.market == rows.market.iloc[0])]
    return list(whole.sort_values("paid").ledger)


def tables(means: pd.DataFrame) -> dict[str, str]:
    """Return every table by name."""
    return {
        "savings": _savings(means),
        "service": _service(means),
        "markets": _markets(means),
        "tasks": _tasks(means),
    }


def _first_market(means: pd.DataFrame) -> pd.DataFrame:
    """Return the largest community's rows under the first market, by ledger."""
    rows = grown(means)
    chosen = (rows.share == 1) & (rows.market == rows.market.iloc[0])
    return rows[chosen].set_index("ledger").loc[by_cost(means)]


def _savings(means: pd.DataFrame) -> str:
    """What a ledger takes of the savings, and from which size on it leaves some."""
    rows = grown(means)
    span = rows.seats.min(), rows.seats.max()
    sizes = break_evens(means).set_index(CASE).loc[rows.market.iloc[0]]
    head = [
        "ledger", "paid", "takes, %", "lost trade, %", "EUR/day", "+ EUR/seat", "break-even",
        "less a size", "R²", "takes as charged, %", "break-even as charged",
    ]  # fmt: skip
    lines = []
    for row in _first_market(means).reset_index().to_dict("records"):
        size = sizes.loc[row["ledger"]]
        low, high = in_words(float(size.low), *span), in_words(float(size.high), *span)
        lines.append(
            [
                f"`{row['ledger']}`",
                "fees" if math.isnan(row["nodes"]) else "nodes",
                rounded(row["paid_percent"], 2),
                rounded(row["lost_percent"], 2),
                f"{round(size.fixed, 2) + 0.0:.2f}",
                f"{size.per_seat:.3f}",
                in_words(float(size.paid), *span),
                low if low == high else f"{low} to {high}",
                f"{size.r2:.2f}",
                rounded(row["charged_percent"], 2),
                in_words(float(size.charged), *span),
            ]
        )
    return _markdown(head, lines)


def _service(means: pd.DataFrame) -> str:
    """How a ledger serves the same community: misses, times, energy, carbon."""
    columns = {
        "missed_orders": "missed, %",
        "confirmation_p50": "in block, s",
        "confirmation_p99": "99 of 100, s",
        "finality_p50": "final, s",
        "transactions": "tx/day",
        "ledger_energy": "kWh/day",
        "energy_per_kwh": "kWh per kWh traded",
        "carbon_g_per_kwh": "g CO2 per kWh traded",
    }
    lines = [
        [f"`{name}`", *(rounded(row[column], 2) for column in columns)]
        for name, row in _first_market(means).iterrows()
    ]
    return _markdown(["ledger", *columns.values()], lines)


def _markets(means: pd.DataFrame) -> str:
    """The largest community, a line per ledger: share taken, break-even, finality by market."""
    rows, found = grown(means), break_evens(means).set_index(CASE)
    whole = rows[rows.share == 1].set_index(CASE)
    markets, smallest, largest = rows.market.unique(), rows.seats.min(), rows.seats.max()
    head = ["ledger", *(f"{m}: {what}" for what in ("%", "seats", "final, s") for m in markets)]
    lines = [
        [
            f"`{name}`",
            *(rounded(whole.loc[(m, name)].paid_percent, 2) for m in markets),
            *(in_words(found.loc[(m, name)].paid, smallest, largest) for m in markets),
            *(rounded(whole.loc[(m, name)].finality_p50, 2) for m in markets),
        ]
        for name in by_cost(means)
    ]
    return _markdown(head, lines)


def _tasks(means: pd.DataFrame) -> str:
    """One market, whole communities, a column per task."""
    rows = means[(means.share == 1) & (means.market == means.market.iloc[0])]
    rows = rows.sort_values("seats", kind="stable")
    tasks = list(rows.task.unique())
    first = rows.groupby("task").first().loc[tasks]
    facts = {
        "seats": first.seats,
        "traded, kWh/day": first.traded_energy,
        "saved, EUR/day": first.saved,
        "saved, EUR/day and seat": first.saved / first.seats,
    }
    lines = [[what, *(rounded(value, 3) for value in values)] for what, values in facts.items()]
    share = rows.set_index(["ledger", "task"]).paid_percent
    lines += [
        [f"`{name}`, %", *(rounded(share[name, task], 2) for task in tasks)]
        for name in by_cost(means)
    ]
    return _markdown(["", *(f"`{task}`" for task in tasks)], lines)


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ruler, *lines))
