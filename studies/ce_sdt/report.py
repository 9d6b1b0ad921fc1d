"""Tables of the experiment beside the figures that the paper prints (4.2, Figure 10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from gridbazaar.evaluation.tables import piped
from gridbazaar.studies.ce_sdt.references import READINGS

# Of all users' 43.1 % = (60.2 % + r 19.6 %) / (1 + r) at equal numbers: what a generator pays
# in the paper's traditional system, as a part of what one without PV pays there.
IMPLIED = (60.2 - 43.1) / (43.1 - 19.6)
_HALF, _MORE = 0.5, 0.7


class Case(NamedTuple):
    """A set of profiles under one level of prices: the rows of `sweeps.by_share`."""

    name: str
    level: float
    rows: pd.DataFrame


def headline(cases: Sequence[Case]) -> str:
    """Return the paper's figures beside those of each set of profiles."""
    lines = [
        ["", "paper", *(f"`{case.name}`" for case in cases)],
        ["price level, AUD/kWh", "not printed", *(f"{case.level:.3f}" for case in cases)],
        ["load, kWh a day", "a picture", *(_load(case.rows) for case in cases)],
        *([what, printed, *(value(case.rows) for case in cases)] for what, printed, value in _ROWS),
    ]
    return piped(lines)


def traditional(cases: Sequence[Case]) -> str:
    """Return what those with PV pay without trade at a share of half, in % of those without."""
    lines = [["what those with PV pay without trade, %", *(f"`{case.name}`" for case in cases)]]
    for name, meaning in READINGS.items():
        cells = [_percent(_ratio(case.rows, _HALF, f"{name}_2", "grid_1")) for case in cases]
        lines.append([meaning, *cells])
    implied = f"{100 * IMPLIED:.1f}"
    return piped([*lines, ["**implied by the paper's figures**", *[implied] * len(cases)]])


def readings(rows: pd.DataFrame) -> str:
    """Return what each reading of an open place does."""
    head = ["reading", "Ω¹ at 50 %", "Ω² at 50 %", "all at 50 %", "Ω¹ at 70 %", "Ω² at 70 %, AUD",
            "traded at 50 %, kWh", "fed in or lost, kWh"]  # fmt: skip
    lines = [head, ["*paper*", "60.2", "19.6", "43.1", "44.7", "below 0", "–", "–"]]
    for name, part in rows.groupby("reading", sort=False):
        at = _at(part, _HALF)
        lines.append([
            str(name), _percent(_ratio(part, _HALF, "cost_1", "grid_1")),
            _percent(_ratio(part, _HALF, "cost_2", "gross_2")),
            _percent(_ratio(part, _HALF, "cost_all", "gross_all")),
            _percent(_ratio(part, _MORE, "cost_1", "grid_1")),
            f"{_at(part, _MORE).cost_2:.2f}", f"{at.bought_kwh_all:.2f}",
            f"{at.fed_in_kwh_all + at.wasted_kwh_all:.2f}",
        ])  # fmt: skip
    return piped(lines)


def sources(told: Mapping[str, str], cases: Sequence[Case]) -> str:
    """Return what each set of profiles is, with its energies in a day."""
    lines = [["set", "load, kWh", "sun, kWh", "all from the grid, AUD", "what it is"]]
    for case in cases:
        at = _at(case.rows, _HALF)
        figures = f"{at.load_kwh_all:.1f}", f"{at.sun_kwh_2:.1f}", f"{at.grid_all:.2f}"
        lines.append([f"`{case.name}`", *figures, told[case.name]])
    return piped(lines)


def sizes(rows: pd.DataFrame, by_chance: pd.DataFrame) -> str:
    """Return what a community's size changes, at the default share, exact or drawn user by user."""
    head = ["users", "need, kWh", "traded, kWh", "grid, kWh", "Ω¹, %", "messages a user"]
    lines = [[*head, "grid, kWh, generators drawn"]]
    for row, drawn in zip(rows.to_dict("records"), by_chance.to_dict("records"), strict=True):
        traded, grid = row["bought_kwh_all"], row["grid_kwh_all"]
        lines.append([
            str(row["users"]), f"{grid + traded:.2f}", f"{traded:.2f}", f"{grid:.2f}",
            _percent(row["cost_1"] / row["grid_1"]), f"{row['messages'] / row['users']:.0f}",
            f"{drawn['grid_kwh_all']:.2f}",
        ])  # fmt: skip
    return piped(lines)


def share_where(rows: pd.DataFrame, left: Sequence[float]) -> str:
    """Return from which share of generators on `left` is below 0, in %, between those played."""
    shares, values = rows.share.to_numpy(), np.asarray(left)
    known = ~np.isnan(values)
    shares, values = shares[known], values[known]
    above = np.flatnonzero(values >= 0)
    if not len(above):
        return f"≤ {100 * shares[0]:.0f}"
    last = above[-1]
    if last == len(values) - 1:
        return "never"
    part = values[last] / (values[last] - values[last + 1])
    return f"{100 * (shares[last] + part * (shares[last + 1] - shares[last])):.0f}"


def _load(rows: pd.DataFrame) -> str:
    return f"{_at(rows, _HALF).load_kwh_all:.1f}"


def _at(rows: pd.DataFrame, share: float) -> pd.Series:
    return rows.iloc[int((rows.share - share).abs().argmin())]


def _ratio(rows: pd.DataFrame, share: float, above: str, below: str) -> float:
    row = _at(rows, share)
    return float(row[above] / row[below])


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value + 0.0:.1f}"


_ROWS = (
    ("Ω¹ at 50 %, of the traditional", "60.2",
     lambda rows: _percent(_ratio(rows, _HALF, "cost_1", "grid_1"))),
    ("Ω² at 50 %, of all load from the grid and all sun fed in", "19.6",
     lambda rows: _percent(_ratio(rows, _HALF, "cost_2", "gross_2"))),
    ("Ω² at 50 %, of all load from the grid alone", "19.6",
     lambda rows: _percent(_ratio(rows, _HALF, "cost_2", "grid_2"))),
    ("all at 50 %, PV fed in traditionally", "43.1",
     lambda rows: _percent(_ratio(rows, _HALF, "cost_all", "gross_all"))),
    ("all at 50 %, no PV traditionally", "43.1",
     lambda rows: _percent(_ratio(rows, _HALF, "cost_all", "grid_all"))),
    ("Ω² at 50 %, AUD a day", "–", lambda rows: f"{_at(rows, _HALF).cost_2:.2f}"),
    ("the same with its store and no trade", "–", lambda rows: f"{_at(rows, _HALF).store_2:.2f}"),
    ("Ω¹ at 70 %", "44.7", lambda rows: _percent(_ratio(rows, _MORE, "cost_1", "grid_1"))),
    ("Ω² at 70 %, AUD a day", "earns", lambda rows: f"{_at(rows, _MORE).cost_2:.2f}"),
    ("Ω² earns above a share of, %", "70", lambda rows: share_where(rows, rows.cost_2)),
    ("traditional Ω², of traditional Ω¹", "68.3",
     lambda rows: _percent(_ratio(rows, _HALF, "gross_2", "grid_1"))),
    ("Ω¹ below traditional Ω² above a share of, %", "30",
     lambda rows: share_where(rows, rows.cost_1 - rows.gross_2)),
    ("sun exceeds load above a share of, %", "50",
     lambda rows: f"{100 * _ratio(rows, _HALF, 'load_kwh_all', 'sun_kwh_2'):.0f}"),
)  # fmt: skip
