"""Plot of the community study: what the ledger takes by size, break-even size, carbon per kWh."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm

from gridbazaar.palette import BLUE, GREEN, GREY, INK, ORANGE, RED, style
from gridbazaar.studies.communities.report import break_evens, by_cost, grown, label

_SCALE = LinearSegmentedColormap.from_list("taken", [BLUE, "#FFFFFF", ORANGE])
_LOOKS = ((BLUE, "o"), (ORANGE, "D"), (GREEN, "s"), (RED, "^"))
_LEAST, _MOST = 1.0, 10_000.0  # % of the savings at which colours end
_GRID = ("#C9CED6", 0.6)


def draw(means: pd.DataFrame, carbon_kg_per_kwh: float, path: Path) -> None:
    """Draw the panels side by side; a row per ledger."""
    order = by_cost(means)
    with style():
        canvas, panels = plt.subplots(
            1, 3, figsize=(15, 1.6 + 0.35 * len(order)), sharey=True, width_ratios=(1.1, 1.2, 1)
        )
        _sizes(panels[0], means, order)
        _break_even(panels[1], means, order)
        _carbon(panels[2], means, order, carbon_kg_per_kwh)
        panels[0].set_yticks(range(len(order)), [label(name) for name in order])
        panels[0].set_ylim(len(order) - 0.5, -0.5)
        handles, names = panels[1].get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside lower center", ncols=len(names))
        partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        canvas.savefig(partial)
        plt.close(canvas)
    os.replace(partial, path)


def _sizes(axes: Axes, means: pd.DataFrame, order: list[str]) -> None:
    rows = grown(means)
    market = rows.market.iloc[0]
    table = rows[rows.market == market].pivot(
        index="ledger", columns="seats", values="paid_percent"
    )
    table = table.loc[order]
    shown = table.to_numpy().clip(_LEAST, _MOST)
    axes.imshow(shown, _SCALE, LogNorm(_LEAST, _MOST), aspect="auto")
    for (y, x), value in np.ndenumerate(table.to_numpy()):
        dark = shown[y, x] < 3
        text = f"{value:,.0f}" if value >= 0.5 else "< 1"
        axes.text(x, y, text, ha="center", va="center", fontsize=9, color="white" if dark else INK)
    axes.set_xticks(range(len(table.columns)), [f"{seats:.0f}" for seats in table.columns])
    axes.set(xlabel="seats", title=f"% of the savings taken\n{label(market)}")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _break_even(axes: Axes, means: pd.DataFrame, order: list[str]) -> None:
    rows, found = grown(means), break_evens(means)
    smallest, largest = rows.seats.min(), rows.seats.max()
    below, never = smallest / 2.2, 10 * largest
    axes.axvspan(smallest, largest, color=GREY, alpha=0.12, lw=0)
    for k, (market, sizes) in enumerate(found.groupby("market", sort=False)):
        colour, marker = _LOOKS[k % len(_LOOKS)]
        seats = sizes.set_index("ledger").paid.loc[order]
        at = seats.clip(upper=never / 2).where(seats < np.inf, never)
        y = np.arange(len(order)) + _offset(k, found.market.nunique())
        axes.plot(
            at.where(seats >= smallest, below),
            y,
            marker,
            color=colour,
            ms=5.5,
            ls="none",
            label=label(str(market)),
        )
    axes.set_xscale("log")
    ticks = [t for t in (10, 20, 50, 100, 200, 500) if smallest <= t < never / 2]
    words = [f"< {smallest:g}", *(str(t) for t in ticks), "never"]
    axes.set_xticks([below, *ticks, never], words, minor=False)
    axes.minorticks_off()
    axes.set(
        xlabel="seats; grey: sizes played",
        title="Break-even size\n",
        xlim=(below / 1.5, never * 1.5),
    )
    axes.tick_params(axis="y", length=0)


def _carbon(axes: Axes, means: pd.DataFrame, order: list[str], carbon_kg_per_kwh: float) -> None:
    rows = grown(means)
    whole = rows[rows.share == 1]
    for k, (_, cases) in enumerate(whole.groupby("market", sort=False)):
        colour, marker = _LOOKS[k % len(_LOOKS)]
        grams = cases.set_index("ledger").carbon_g_per_kwh.loc[order]
        y = np.arange(len(order)) + _offset(k, whole.market.nunique())
        axes.plot(grams, y, marker, color=colour, ms=5.5, ls="none")
    grid_g = 1000 * carbon_kg_per_kwh
    axes.axvline(grid_g, color=INK, lw=1.2, ls="--")
    axes.text(grid_g * 1.4, 0.2, "a kWh from the grid", fontsize=9, va="center")
    axes.set_xscale("log")
    seats = f"{whole.seats.iloc[0]:.0f} seats"
    axes.set(xlabel="g CO2 per kWh traded", title=f"Carbon of the ledger\n{seats}")
    axes.tick_params(axis="y", length=0)


def _offset(k: int, of: int) -> float:
    return (k - (of - 1) / 2) * 0.62 / of
