"""Figures 5 to 10 of the paper, of the communities that were played."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from torch import Tensor

from gridbazaar.palette import BLUE, GREY, INK, ORANGE, UNDATED, style
from gridbazaar.studies.ce_sdt.sweeps import DEFAULT_SHARE

ByHour = Mapping[str, Tensor]


def draw(
    rows: pd.DataFrame, by_hour: ByHour, sizes: Sequence[int], of_sizes: ByHour, path: Path
) -> None:
    """Draw the six figures.

    Args:
        rows, by_hour: of `sweeps.by_share`.
        of_sizes: of `sweeps.by_users`, kW a user.
    """
    users, shares = int(rows.users.iloc[0]), rows.share.to_numpy()
    default = int(np.abs(shares - DEFAULT_SHARE).argmin())
    with style():
        canvas, ((use, need_n, grid_n), (need_s, grid_s, cost)) = plt.subplots(
            2, 3, figsize=(14, 7.5)
        )
        use.plot(by_hour["need"][default], color=BLUE, label="users")
        use.plot(by_hour["grid"][default], color=ORANGE, label="grid")
        use.set(title=f"5: use and grid, {100 * shares[default]:.0f} % generate", ylabel="kW")
        use.legend()
        names = [f"{n} users" for n in sizes]
        _lines(need_n, of_sizes["need"], names, "6: need of a user, kW")
        _lines(grid_n, of_sizes["grid"], names, "7: grid's supply of a user, kW")
        kept = [k for k in range(len(shares)) if k % 2 == 0]
        names = [f"{100 * shares[k]:.0f} %" for k in kept]
        _lines(need_s, by_hour["need"][kept] / users, names, "8: need of a user, kW")
        _lines(grid_s, by_hour["grid"][kept] / users, names, "9: grid's supply of a user, kW")
        for axes in (use, need_n, grid_n, need_s, grid_s):
            axes.set(xlabel="hour", xticks=range(0, 25, 4), xlim=(0, 23), ylim=(0, None))
        _cost(cost, rows)
        partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        canvas.savefig(partial, metadata=UNDATED.get(path.suffix.removeprefix("."), {}))
        plt.close(canvas)
    os.replace(partial, path)


def _lines(axes: Axes, values: Tensor, names: Sequence[str], title: str) -> None:
    colours = plt.get_cmap("viridis")(np.linspace(0.9, 0.0, len(names)))
    for row, name, colour in zip(values, names, colours, strict=True):
        axes.plot(row, color=colour, label=name, lw=1.6)
    axes.set(title=title)
    axes.legend(fontsize=8)


def _cost(axes: Axes, rows: pd.DataFrame) -> None:
    share = 100 * rows.share
    for name, label, colour in (("1", "Ω¹", BLUE), ("2", "Ω²", ORANGE), ("all", "all", INK)):
        axes.plot(share, rows[f"cost_{name}"], color=colour, marker="o", ms=4, label=label)
    axes.plot(share, rows.grid_1, color=BLUE, ls=":", label="Ω¹ traditionally")
    axes.plot(share, rows.gross_2, color=ORANGE, ls=":", label="Ω² traditionally")
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set(title="10: cost of a user, AUD a day", xlabel="share who generate, %")
    axes.set_ylim(top=1.3 * rows.grid_1.max())
    axes.legend(fontsize=8, loc="upper center", ncols=2)
