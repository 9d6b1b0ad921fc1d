"""Plots of a comparison: cost, differences, savings, roles and voltages of all combinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from gridbazaar.envs.observation import ROLES
from gridbazaar.evaluation.mechanisms import marks
from gridbazaar.evaluation.scores import LEVELS
from gridbazaar.evaluation.tournament import OPTIMUM, VOLTAGE_QUANTILES, Combination, Outcome
from gridbazaar.palette import GREEN, GREY, INK, ORANGE, ROLE

Row = Mapping[str, Any]
# Rows that a plot of all combinations has at most; beyond, its title says that it is of the
# cheapest.
_MOST = 36
_CURVES = 8  # more lines in one plot cannot be told apart


def title_of(row: Row) -> str:
    """Return how plots and tables call a combination."""
    if row["bidder"] == OPTIMUM:
        return "optimum (perfect foresight)"
    if row["baseline"]:
        return "grid alone"
    return f"{row['bidder']} · {row['market']} · {row['ledger']}".replace("_", " ")


def shown(rows: Sequence[Row]) -> list[Row]:
    """Return the played rows, cheapest first; of very many the cheapest and the grid alone."""
    played = _played(rows)
    return [row for k, row in enumerate(played) if k < _MOST or row["baseline"]]


def _played(rows: Sequence[Row]) -> list[Row]:
    played = [row for row in rows if row["bidder"] != OPTIMUM]
    return sorted(played, key=lambda row: row["kpis"]["community_cost"]["mean"])


def _title(words: str, rows: Sequence[Row]) -> str:
    total = len(_played(rows))
    return words if total <= _MOST else f"{words}, the {_MOST} cheapest of {total}"


def _canvas(count: int, extra: float = 0.0) -> tuple[Figure, Any]:
    return plt.subplots(figsize=(9, 1.5 + 0.42 * count + extra))


def _name_rows(axes: Any, rows: Sequence[Row]) -> None:
    axes.set_yticks(range(len(rows)), [title_of(row) + marks(row) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _interval(axes: Any, y: int, figure: Row, colour: str) -> None:
    axes.plot(
        [figure["low"], figure["high"]],
        [y, y],
        color=colour,
        lw=3,
        alpha=0.45,
        solid_capstyle="round",
    )
    axes.plot(figure["mean"], y, "o", color=colour, ms=8)


def cost(rows: Sequence[Row], colours: dict[str, str]) -> Figure:
    """Community cost with its interval per combination; the optimum as a line."""
    played = shown(rows)
    figure, axes = _canvas(len(played))
    for y, row in enumerate(played):
        colour = GREY if row["baseline"] else colours[row["bidder"]]
        kpi = row["kpis"]["community_cost"]
        _interval(axes, y, kpi, colour)
        axes.annotate(
            f"{kpi['mean']:.2f}",
            (kpi["mean"], y),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    best = next(row for row in rows if row["bidder"] == OPTIMUM)["kpis"]["community_cost"]
    axes.axvline(best["mean"], color=INK, lw=1.2, ls="--")
    axes.annotate(
        f" optimum {best['mean']:.2f}",
        (best["mean"], 0.01),
        ha="left",
        va="bottom",
        xycoords=("data", "axes fraction"),
        fontsize=9,
    )
    _name_rows(axes, played)
    axes.margins(x=0.12)
    axes.set_xlabel(f"{best['unit']}, mean and 95 % interval over days and seeds")
    axes.set_title(_title("Community cost", rows))
    return figure


def differences(rows: Sequence[Row], colours: dict[str, str]) -> Figure | None:
    """How much more each bidder costs than the reference on the same days; None without others."""
    played = [row for row in shown(rows) if row["difference"]]
    if not played:
        return None
    figure, axes = _canvas(len(played))
    for y, row in enumerate(played):
        kpi = row["difference"]["kpis"]["community_cost"]
        _interval(axes, y, kpi, colours[row["bidder"]])
    axes.axvline(0, color=INK, lw=1.2)
    _name_rows(axes, played)
    reference = played[0]["difference"]["reference"].replace("_", " ")
    axes.set_xlabel(f"{kpi['unit']} more on the same day, with 95 % interval")
    axes.set_title(_title(f"Cost above that of {reference}", rows))
    return figure


def savings(rows: Sequence[Row], colours: dict[str, str]) -> Figure:
    """Share of the optimum's savings over the grid alone that each combination reached."""
    played = [row for row in shown(rows) if not row["baseline"]]
    figure, axes = _canvas(len(played))
    for y, row in enumerate(played):
        kpi = row["kpis"]["optimum_share"]
        axes.barh(y, kpi["mean"], color=colours[row["bidder"]], height=0.62)
        axes.plot([kpi["low"], kpi["high"]], [y, y], color=INK, lw=1.6)
        right = max(kpi["high"], 0)
        text = "not defined" if np.isnan(kpi["mean"]) else f"{kpi['mean']:.0f} %"
        axes.annotate(
            text, (right, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.axvline(0, color=INK, lw=1.2)
    axes.axvline(100, color=INK, lw=1.2, ls="--")
    _name_rows(axes, played)
    axes.set_xlabel("% of what perfect foresight saves over the grid alone (dashed)")
    axes.set_title(_title("Savings reached", rows))
    return figure


def profile(rows: Sequence[Row], colours: dict[str, str]) -> Figure | None:
    """Share of days and seeds on which each combination scores more; None without an optimum."""
    played = [row for row in shown(rows) if row["score"] and not row["baseline"]][:_CURVES]
    if not played:
        return None
    figure, axes = plt.subplots(figsize=(9, 4))
    for row in played:
        curve = row["score"]["profile"]
        (line,) = axes.plot(
            LEVELS, curve["share"], lw=2, color=colours[row["bidder"]], label=title_of(row)
        )
        axes.fill_between(
            LEVELS, curve["low"], curve["high"], color=line.get_color(), alpha=0.15, lw=0
        )
    axes.axvline(1, color=INK, lw=1.2, ls="--")
    axes.set_xlabel("score of a day: 0 grid alone, 1 optimum, in mean savings of the optimum")
    axes.set_ylabel("share of days and seeds above")
    axes.set_title("Performance profiles")
    axes.legend(fontsize=8)
    return figure


def waterfall(falls: Sequence[Row]) -> Figure | None:
    """Steps from the grid alone to the optimum, a panel per ledger; None without any."""
    if not falls:
        return None
    figure, panels = plt.subplots(
        1, len(falls), figsize=(max(9, 4.6 * len(falls)), 4.4), sharey=True, squeeze=False
    )
    for axes, fall in zip(panels[0], falls, strict=True):
        costs = [step["cost"] for step in fall["steps"]]
        names = [step["name"] for step in fall["steps"]]
        axes.bar([0, len(costs)], [costs[0], costs[-1]], color=[GREY, INK], width=0.7)
        for x, (before, after) in enumerate(pairwise(costs), 1):
            colour = GREEN if after <= before else ORANGE
            axes.bar(x, after - before, bottom=before, color=colour, width=0.7)
            axes.annotate(
                f"{after - before:+.2f}".replace("-0.00", "+0.00"),
                (x, max(before, after)),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        axes.set_xticks(range(len(costs) + 1), [*names, "optimum"], rotation=35, ha="right")
        axes.set_title(f"{fall['bidder']} · {fall['ledger']}".replace("_", " "))
        low, high = min(costs), max(costs)
        axes.set_ylim(low - 0.35 * (high - low) - 1e-6, high + 0.12 * (high - low) + 1e-6)
    panels[0][0].set_ylabel("community cost a day, from above 0")
    return figure


def roles(rows: Sequence[Row]) -> Figure:
    """Cost per role and combination."""
    played = shown(rows)
    present = [r for r in ROLES if np.isfinite(played[0]["kpis"][f"cost_{r}"]["mean"])]
    figure, panels = plt.subplots(
        1, len(present), figsize=(10.5, 1.6 + 0.36 * len(played)), sharey=True, squeeze=False
    )
    for axes, role in zip(panels[0], present, strict=True):
        for y, row in enumerate(played):
            _interval(axes, y, row["kpis"][f"cost_{role}"], ROLE[role])
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_title(role)
        axes.margins(x=0.15)
    _name_rows(panels[0][0], played)
    for axes in panels[0]:
        axes.grid(axis="y", visible=True)
    unit = played[0]["kpis"]["community_cost"]["unit"]
    figure.supxlabel(f"{unit}, all seats of the role; negative: they earn", fontsize=11)
    return figure


def voltages(
    rows: Sequence[Row],
    outcomes: Sequence[Outcome],
    colours: dict[str, str],
    band: tuple[float, float],
) -> Figure:
    """Distribution of all bus voltages per combination, and the permitted band."""
    levels = {outcome.combination: outcome.voltages for outcome in outcomes}
    played = shown(rows)
    figure, axes = _canvas(len(played), 0.3)
    for y, row in enumerate(played):
        level = levels[Combination(row["bidder"], row["market"], row["ledger"])]
        if level is None:
            continue
        q = dict(zip(VOLTAGE_QUANTILES, level.tolist(), strict=True))
        colour = GREY if row["baseline"] else colours[row["bidder"]]
        axes.plot([q[0.0], q[1.0]], [y, y], color=colour, lw=1.2)
        axes.plot([q[0.01], q[0.99]], [y, y], color=colour, lw=5, alpha=0.45)
        axes.plot([q[0.25], q[0.75]], [y, y], color=colour, lw=10, solid_capstyle="butt")
        axes.plot(q[0.5], y, "|", color="white", ms=9, mew=2)
    left, right = axes.get_xlim()
    for bound in band:
        if left < bound < right:
            axes.axvline(bound, color=INK, lw=1.2, ls="--")
    _name_rows(axes, played)
    axes.set_xlabel(f"p.u.; limits {band[0]:.3g} and {band[1]:.3g}")
    axes.set_title(_title("Voltages", rows))
    return figure
