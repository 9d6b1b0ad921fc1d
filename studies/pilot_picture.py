"""Picture of the pilots: savings, what the ledger takes, latency, what is seen, and carbon."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gridbazaar.palette import BLUE, FAINT, GREEN, INK, ORANGE, RED, SKY, style

_LEAST_S, _LEAST_KG = 0.1, 1e-3  # where the logarithmic axes begin
_WORST = -30.0  # % at which the axis of savings ends


def draw(frame: pd.DataFrame, path: Path) -> None:
    """Draw four panels side by side; a row per pilot, what members keep first."""
    rows = frame.sort_values("saved", ascending=False).reset_index(drop=True)
    with style():
        canvas, panels = plt.subplots(
            1, 4, figsize=(15, 1.8 + 0.3 * len(rows)), sharey=True, width_ratios=(1.3, 1, 1, 1)
        )
        _savings(panels[0], rows)
        _latency(panels[1], rows)
        _seen(panels[2], rows)
        _carbon(panels[3], rows)
        names = [str(name).replace("_", " ") for name in rows.preset]
        panels[0].set_yticks(range(len(rows)), names)
        panels[0].set_ylim(len(rows) - 0.5, -0.5)
        for axes in panels:
            axes.tick_params(axis="y", length=0)
            handles, words = axes.get_legend_handles_labels()
            below = -0.6 / (0.3 * len(rows) + 0.8)
            axes.legend(handles, words, loc="upper center", bbox_to_anchor=(0.5, below), ncols=2)
        partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        canvas.savefig(partial)
        plt.close(canvas)
    os.replace(partial, path)


def _savings(axes: Axes, rows: pd.DataFrame) -> None:
    """Dumbbells from what trade saves on an ideal ledger to what members keep."""
    y = np.arange(len(rows))
    kept = rows.saved.clip(lower=_WORST)
    axes.hlines(y, kept, rows.saved_ideal, color=FAINT, lw=3)
    axes.plot(rows.saved_ideal, y, "o", color=SKY, ms=6, label="ideal ledger")
    axes.plot(kept, y, "D", color=BLUE, ms=5, label="its own")
    for at, saved in enumerate(rows.saved):
        if saved < _WORST:
            axes.text(_WORST + 2, at, f"{saved:,.0f} %", va="center", fontsize=8, color=RED)
    axes.axvline(0, color=INK, lw=1)
    axes.set(xlabel="% of the cost on the grid alone", title="Savings of the members")
    axes.set_xlim(left=kept.min() - 2)


def _latency(axes: Axes, rows: pd.DataFrame) -> None:
    y = np.arange(len(rows))
    axes.plot(
        rows.confirmation_p50.clip(lower=_LEAST_S), y, "o", color=GREEN, ms=5, label="in a block"
    )
    axes.plot(rows.finality_p50.clip(lower=_LEAST_S), y, "D", color=INK, ms=4, label="final")
    axes.set_xscale("log")
    axes.set(xlabel="s, median", title="Latency")


def _seen(axes: Axes, rows: pd.DataFrame) -> None:
    y = np.arange(len(rows))
    axes.barh(y - 0.2, rows.linked, 0.36, color=ORANGE, label="linked")
    axes.barh(y + 0.2, rows.read_early, 0.36, color=RED, label="read before the gate")
    axes.set(xlabel="%", title="What an observer has", xlim=(0, 105))


def _carbon(axes: Axes, rows: pd.DataFrame) -> None:
    y = np.arange(len(rows))
    axes.plot(rows.carbon, y, "o", color=SKY, ms=5, label="the community's")
    axes.plot(
        rows.ledger_carbon.clip(lower=_LEAST_KG), y, "D", color=INK, ms=4, label="the ledger's"
    )
    axes.set_xscale("log")
    axes.set(xlabel="kg a day", title="CO2")
