"""Plots of a comparison: cost, differences, savings, roles and voltages of all combinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gridbazaar.envs.observation import ROLES
from gridbazaar.evaluation.canvas import (
    LABEL,
    ON_WHITE,
    Facets,
    in_paper,
    names,
    points,
    size,
    small,
    wrapped,
)
from gridbazaar.evaluation.outcome import OPTIMUM, VOLTAGE_QUANTILES, Combination, Outcome
from gridbazaar.evaluation.scores import LEVELS
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


def _interval(axes: Any, y: int, figure: Row, colour: str) -> None:
    axes.plot(
        [figure["low"], figure["high"]],
        [y, y],
        color=colour,
        lw=points(3),
        alpha=0.45,
        solid_capstyle="round",
    )
    axes.plot(figure["mean"], y, "o", color=colour, ms=points(8))


def _reference_line(axes: Any, x: float, text: str) -> None:
    """Draw an upright line that is named at the foot of its panel."""
    axes.axvline(x, color=INK, lw=points(1.2), ls="--")
    axes.annotate(
        text,
        (x, 0),
        xytext=(2, 2),
        textcoords="offset points",
        va="bottom",
        xycoords=("data", "axes fraction"),
        fontsize=small(),
    )


def cost(rows: Sequence[Row], colours: dict[str, str]) -> Figure:
    """Community cost with its interval, a panel for each ledger; the optimum as a line."""
    played = shown(rows)
    facets = Facets.of(played)
    figure, panels = facets.figure(_title("Community cost", rows), extra=0.35)
    for (y, ledger), row in facets.cells.items():
        colour = GREY if row["baseline"] else colours[row["bidder"]]
        kpi = row["kpis"]["community_cost"]
        _interval(panels[ledger], y, kpi, colour)
        panels[ledger].annotate(
            f"{kpi['mean']:.2f}",
            (kpi["mean"], y),
            xytext=(0, points(7)),
            textcoords="offset points",
            ha="center",
            fontsize=small(),
            bbox=ON_WHITE,
        )
    best = next(row for row in rows if row["bidder"] == OPTIMUM)["kpis"]["community_cost"]
    for axes in panels.values():
        # Room below the last row, for the line's name.
        axes.set_ylim(len(facets.labels) + 0.1, -0.75)
        axes.margins(x=0.12)
        if np.isfinite(best["mean"]):
            _reference_line(axes, best["mean"], f"optimum {best['mean']:.2f}")
    figure.supxlabel(
        wrapped(f"{best['unit']}, mean and 95 % interval over days and seeds"), size=LABEL
    )
    return figure


def differences(rows: Sequence[Row], colours: dict[str, str]) -> Figure | None:
    """How much more each bidder costs than the reference on the same days; None without others."""
    played = [row for row in shown(rows) if row["difference"]]
    if not played:
        return None
    facets = Facets.of(played)
    reference = played[0]["difference"]["reference"].replace("_", " ")
    figure, panels = facets.figure(_title(f"Cost above that of {reference}", rows))
    for (y, ledger), row in facets.cells.items():
        kpi = row["difference"]["kpis"]["community_cost"]
        _interval(panels[ledger], y, kpi, colours[row["bidder"]])
    for axes in panels.values():
        axes.axvline(0, color=INK, lw=points(1.2))
    figure.supxlabel(wrapped(f"{kpi['unit']} more on the same day, with 95 % interval"), size=LABEL)
    return figure


def savings(rows: Sequence[Row], colours: dict[str, str]) -> Figure:
    """Share of the optimum's savings over the grid alone that each reached, a panel a ledger."""
    played = [row for row in shown(rows) if not row["baseline"]]
    facets = Facets.of(played)
    figure, panels = facets.figure(_title("Savings reached", rows))
    for (y, ledger), row in facets.cells.items():
        axes, kpi = panels[ledger], row["kpis"]["optimum_share"]
        axes.barh(y, kpi["mean"], color=colours[row["bidder"]], height=0.62)
        axes.plot([kpi["low"], kpi["high"]], [y, y], color=INK, lw=points(1.6))
        right = max(kpi["high"], 0)
        text = "not defined" if np.isnan(kpi["mean"]) else f"{kpi['mean']:.0f} %"
        axes.annotate(
            text,
            (right, y),
            xytext=(points(5), 0),
            textcoords="offset points",
            va="center",
            fontsize=small(),
            bbox=ON_WHITE,
        )
    for axes in panels.values():
        axes.axvline(0, color=INK, lw=points(1.2))
        axes.axvline(100, color=INK, lw=points(1.2), ls="--")
        axes.margins(x=0.14)
    words = "% of what perfect foresight saves over the grid alone (dashed)"
    figure.supxlabel(wrapped(words), size=LABEL)
    return figure


def profile(rows: Sequence[Row], colours: dict[str, str]) -> Figure | None:
    """Share of days and seeds on which each combination scores more; None without an optimum."""
    played = [row for row in shown(rows) if row["score"] and not row["baseline"]][:_CURVES]
    if not played:
        return None
    figure, axes = plt.subplots(figsize=size(9, 4))
    for row in played:
        curve = row["score"]["profile"]
        (line,) = axes.plot(
            LEVELS, curve["share"], lw=points(2), color=colours[row["bidder"]], label=title_of(row)
        )
        axes.fill_between(
            LEVELS, curve["low"], curve["high"], color=line.get_color(), alpha=0.15, lw=0
        )
    axes.axvline(1, color=INK, lw=points(1.2), ls="--")
    axes.set_xlabel(
        wrapped("score of a day: 0 grid alone, 1 optimum, in mean savings of the optimum")
    )
    axes.set_ylabel("share of days and seeds above")
    axes.set_title("Performance profiles")
    figure.legend(loc="outside lower center", ncols=1 if in_paper() else 2, fontsize=small())
    return figure


def waterfall(falls: Sequence[Row]) -> Figure | None:
    """Steps from the grid alone to the optimum, a panel per ledger; None without any."""
    if not falls:
        return None
    figure, panels = plt.subplots(
        1,
        len(falls),
        figsize=size(max(9, 4.6 * len(falls)), 4.4, double=len(falls) > 1),
        sharey=True,
        squeeze=False,
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
                fontsize=small(),
            )
        axes.set_xticks(range(len(costs) + 1), [*names, "optimum"], rotation=35, ha="right")
        axes.tick_params(axis="x", length=0)
        axes.set_title(f"{fall['bidder']} · {fall['ledger']}".replace("_", " "))
        low, high = min(costs), max(costs)
        axes.set_ylim(low - 0.35 * (high - low) - 1e-6, high + 0.12 * (high - low) + 1e-6)
    panels[0][0].set_ylabel(
        "cost a day, from above 0" if in_paper() else "community cost a day, from above 0"
    )
    return figure


def roles(rows: Sequence[Row]) -> Figure:
    """Cost per role and combination."""
    played = shown(rows)
    present = [r for r in ROLES if np.isfinite(played[0]["kpis"][f"cost_{r}"]["mean"])]
    figure, panels = plt.subplots(
        1,
        len(present),
        figsize=size(10.5, 1.6 + (0.26 if in_paper() else 0.36) * len(played), double=True),
        sharey=True,
        squeeze=False,
    )
    for axes, role in zip(panels[0], present, strict=True):
        for y, row in enumerate(played):
            _interval(axes, y, row["kpis"][f"cost_{role}"], ROLE[role])
        axes.axvline(0, color=INK, lw=points(0.8))
        axes.set_title(role)
        axes.margins(x=0.15)
        axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
        axes.tick_params(axis="y", length=0)
    first = panels[0][0]
    first.set_yticks(range(len(played)), names(played))
    first.set_ylim(len(played) - 0.4, -0.6)
    unit = played[0]["kpis"]["community_cost"]["unit"]
    figure.supxlabel(wrapped(f"{unit}, all seats of the role; negative: they earn"), size=LABEL)
    return figure


def voltages(
    rows: Sequence[Row],
    outcomes: Sequence[Outcome],
    colours: dict[str, str],
    band: tuple[float, float],
) -> Figure:
    """Distribution of all bus voltages, a panel for each ledger, and the permitted band."""
    levels = {outcome.combination: outcome.voltages for outcome in outcomes}
    facets = Facets.of(shown(rows))
    figure, panels = facets.figure(_title("Voltages", rows), extra=0.3)
    for (y, ledger), row in facets.cells.items():
        level = levels[Combination(row["bidder"], row["market"], row["ledger"])]
        if level is None:
            continue
        axes = panels[ledger]
        q = dict(zip(VOLTAGE_QUANTILES, level.tolist(), strict=True))
        colour = GREY if row["baseline"] else colours[row["bidder"]]
        axes.plot([q[0.0], q[1.0]], [y, y], color=colour, lw=points(1.2))
        axes.plot([q[0.01], q[0.99]], [y, y], color=colour, lw=points(5), alpha=0.45)
        quarters = [q[0.25], q[0.75]]
        axes.plot(quarters, [y, y], color=colour, lw=points(10), solid_capstyle="butt")
        axes.plot(q[0.5], y, "|", color="white", ms=points(9), mew=points(2))
    for axes in panels.values():
        left, right = axes.get_xlim()
        for bound in band:
            if left < bound < right:
                axes.axvline(bound, color=INK, lw=points(1.2), ls="--")
    words = "p.u.: median, quartiles, 98 % and range"
    figure.supxlabel(wrapped(f"{words}; limits {band[0]:.3g} and {band[1]:.3g}"), size=LABEL)
    return figure
