"""Learning curves of runs and of sets of runs: mean over training seeds, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import t

from gridbazaar import files
from gridbazaar.agents import shelf
from gridbazaar.agents.run_set import members
from gridbazaar.errors import DataError
from gridbazaar.evaluation.canvas import points, size
from gridbazaar.palette import BLUE, GREY, style

TABLE, PICTURE = "curves.csv", "learning.png"
_CURVE = "progress.csv"  # as gridbazaar.agents.learning.curves writes it
_ITERATION, _STEPS, _SECONDS = "iteration", "agent_steps", "seconds"
_TRAINED = "train_community_cost_eur_per_day"
_VALIDATED = "validation_community_cost_eur_per_day"
_COLUMNS = [_ITERATION, _STEPS, _SECONDS, _TRAINED, _VALIDATED]


def read_curves(bidder: str) -> pd.DataFrame | None:
    """Return the curve of a run or a set of runs, see `over_seeds`; None where there is none.

    Raises DataError where a table cannot be read.
    """
    tables = [_read(shelf.place(run)) for run in members(bidder).values()]
    found = [table for table in tables if table is not None]
    return over_seeds(found) if found else None


def _read(path: Path) -> pd.DataFrame | None:
    file = next((p / _CURVE for p in (path, *path.parents) if (p / _CURVE).is_file()), None)
    if file is None:
        return None
    try:
        table = pd.read_csv(file)[_COLUMNS].astype(float)
    except (ValueError, KeyError):  # pandas' own errors among them
        raise DataError(
            f"{file} is no learning curve any more: expected numbers under {', '.join(_COLUMNS)}; "
            "bring it back or remove it"
        ) from None
    return table if len(table) else None  # stopped before its first iteration


def over_seeds(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return a row per iteration: means over the seeds that reached it, and validation's interval.

    Columns are those of a run's table, `seeds`, how many reached it, and `low` and `high`, the 95 %
    interval of the validated cost by Student's t; NaN with one seed, which has none.
    """
    together = pd.concat(tables).groupby(_ITERATION)
    found = together[_COLUMNS[1:]].mean()
    found["seeds"] = together[_STEPS].count()
    validated = together[_VALIDATED]
    count, spread = validated.count(), validated.std(ddof=1)
    half = t.ppf(0.975, np.maximum(count - 1, 1)) * spread / np.sqrt(count.clip(lower=1))
    found["low"], found["high"] = found[_VALIDATED] - half, found[_VALIDATED] + half
    return found.reset_index()


def learning_curve(curves: Mapping[str, pd.DataFrame], colours: Mapping[str, str]) -> Figure | None:
    """Validated cost per run by agent steps and by wall time; None without a curve.

    Of a set the mean over its seeds, with its interval as a band; training's cost beside a single
    one.
    """
    if not curves:
        return None
    figure, panels = plt.subplots(1, 2, figsize=size(11, 3.8, double=True), sharey=True)
    for name, table in curves.items():
        colour = colours.get(name, BLUE) if len(curves) == 1 else None
        validated = table[table[_VALIDATED].notna()]
        seeds = int(table["seeds"].max())
        again = f", mean of {seeds} seeds and 95 %" if seeds > 1 else ""
        xs = [validated[_STEPS] / 1e6, validated[_SECONDS] / 60]
        if len(curves) == 1:
            panels[0].plot(
                table[_STEPS] / 1e6,
                table[_TRAINED],
                lw=points(1),
                color=GREY,
                label="training, exploring",
            )
        for axes, x in zip(panels, xs, strict=True):
            (line,) = axes.plot(
                x, validated[_VALIDATED], "o-", ms=points(4), color=colour, label=f"{name}{again}"
            )
            axes.fill_between(
                x, validated["low"], validated["high"], color=line.get_color(), alpha=0.2, lw=0
            )
    panels[0].set_xlabel("million agent steps, of each seed")
    panels[1].set_xlabel("minutes of wall time, of each seed")
    panels[0].set_ylabel("EUR/day")
    panels[0].set_title("Learning curve: community cost on validation days")
    panels[0].legend()
    return figure


def draw(folder: Path) -> list[Path]:
    """Write the curve of a run or set of runs into its folder, as table and picture.

    Nothing where nothing was trained yet.
    """
    table = read_curves(str(folder))
    if table is None:
        return []
    files.write(folder / TABLE, table.to_csv(index=False))
    with style():
        figure: Any = learning_curve({folder.name: table}, {})
        figure.savefig(folder / PICTURE)
        plt.close(figure)
    return [folder / TABLE, folder / PICTURE]
