"""Plots of market mechanisms: paired differences in cost, and cost by mechanism and bidder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

from gridbazaar.evaluation.canvas import LABEL, in_paper, points, size, small, wrapped
from gridbazaar.evaluation.mechanisms import cost, groups, is_reference, marks, reference_market
from gridbazaar.palette import BLUE, INK, ORANGE

# More rows of dots than this would cover each other.
_MOST_DOTS = 8
_MOST_NARROW = 4  # bidders of a heat map that a paper's column holds
_MARKERS = "oDs^vP"  # a ledger each
_SCALE = LinearSegmentedColormap.from_list("saving", [BLUE, "#FFFFFF", ORANGE])


def differences(rows: Sequence[dict[str, Any]], colours: dict[str, str]) -> Figure | None:
    """Draw what each market costs more than the reference, on the same days; a row per market.

    None where more bidders and ledgers play than can be told apart.
    """
    compared = [g for g in groups(rows) if any(row["market_difference"] for row in g.rows)]
    if not compared or len(compared) > _MOST_DOTS:
        return None
    order = _markets([row for row in rows if row["market_difference"]])
    ledgers = list(dict.fromkeys(group.ledger for group in compared))
    figure, axes = plt.subplots(figsize=size(9, 1.7 + (0.14 + 0.1 * len(compared)) * len(order)))
    for k, group in enumerate(compared):
        colour = colours[group.bidder]
        marker = _MARKERS[ledgers.index(group.ledger) % len(_MARKERS)]
        offset = (k - (len(compared) - 1) / 2) * 0.62 / len(compared)
        for row in group.rows:
            if row["market_difference"]:
                kpi = row["market_difference"]["kpis"]["community_cost"]
                y = order.index(row["market"]) + offset
                axes.plot([kpi["low"], kpi["high"]], [y, y], color=colour, lw=points(3), alpha=0.45)
                axes.plot(kpi["mean"], y, marker, color=colour, ms=points(6))
        axes.plot([], [], marker, ms=points(6), color=colour, label=_words(group.title))
    _name_markets(axes, order, rows)
    axes.axvline(0, color=INK, lw=points(1.2))
    figure.legend(loc="outside lower center", ncols=2 if in_paper() else 4)
    unit = rows[0]["kpis"]["community_cost"]["unit"]
    figure.supxlabel(wrapped(f"{unit} more on the same day, mean and 95 % interval"), size=LABEL)
    axes.set_title(f"Cost above that of {_words(reference_market(rows))}")
    return figure


def heat(rows: Sequence[dict[str, Any]]) -> Figure | None:
    """Draw the community cost by market and bidder, blue below the grid alone; None for one bidder.

    Colours end where the costliest and the cheapest cell are.
    """
    columns = groups(rows)
    if len(columns) < 2:
        return None
    order = _markets(rows)
    table = np.full((len(order), len(columns)), np.nan)
    for k, group in enumerate(columns):
        for row in group.rows:
            table[order.index(row["market"]), k] = cost(row)
    alone = next(cost(row) for row in rows if row["baseline"])
    reach = float(np.nanmax(np.abs(table - alone))) or 1.0
    norm = TwoSlopeNorm(alone, alone - reach, alone + reach)
    width, height = 2.6 + 0.8 * max(len(columns), 4), 2.4 + 0.3 * len(order)
    figure, axes = plt.subplots(figsize=size(width, height, double=len(columns) > _MOST_NARROW))
    image = axes.imshow(table, _SCALE, norm, aspect="auto")
    for y, x in np.argwhere(np.isfinite(table)):
        dark = abs(table[y, x] - alone) > 0.75 * reach
        axes.text(
            x,
            y,
            f"{table[y, x]:.1f}",
            ha="center",
            va="center",
            fontsize=small(),
            color="white" if dark and table[y, x] < alone else INK,
        )
    _name_markets(axes, order, rows)
    axes.set_xticks(range(len(columns)), [_words(g.title) for g in columns], rotation=35, ha="left")
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    unit = rows[0]["kpis"]["community_cost"]["unit"]
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", aspect=40, pad=0.02)
    bar.set_label(f"community cost, {unit}; white: the grid alone, {alone:.1f}")
    bar.outline.set_visible(False)
    return figure


def _markets(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the markets, by the cheapest that any bidder reaches in them."""
    played = sorted((row for row in rows if not is_reference(row)), key=cost)
    return list(dict.fromkeys(row["market"] for row in played))


def _name_markets(axes: Axes, order: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    found: dict[str, str] = {}
    for row in rows:
        known = found.setdefault(row["market"], "")
        found[row["market"]] = known + "".join(m for m in marks(row) if m not in known)
    axes.set_yticks(range(len(order)), [f"{_words(name)}{found[name]}" for name in order])
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _words(name: str) -> str:
    return name.replace("_", " ")
