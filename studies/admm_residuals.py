"""Convergence of both ADMM markets: residuals and duality gap against rounds.

    python studies/admm_residuals.py --plot docs/images/admm_residuals.png

Random books of seats that trade, without a feeder, float64. Both forms make the same rounds, so
that their curves lie on each other; the printed iteration is the one without relaxation.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.markets import Context, Orders
from gridbazaar.envs.markets.bilateral.admm import (
    AdmmConfig,
    ResidualCurves,
    Update,
    residual_curves,
)
from gridbazaar.envs.markets.bilateral.admm_parallel import PARTNERS
from gridbazaar.envs.markets.bilateral.admm_sequential import CONTRACT
from gridbazaar.palette import BLUE, GREY, ORANGE, style
from gridbazaar.studies import places

FORMS: dict[str, tuple[Update, float | None]] = {
    "sequential": (CONTRACT, None),
    "parallel": (PARTNERS, None),
    "without relaxation": (CONTRACT, 1.0),
}
LOOKS = {
    "sequential": {"color": BLUE, "lw": 4, "alpha": 0.45},
    "parallel": {"color": ORANGE, "lw": 1.5, "ls": "--"},
    "without relaxation": {"color": GREY, "lw": 1.5},
}
PANELS = {
    "primal": "primal residual: disagreement",
    "dual": "dual residual: last change",
    "gap": "duality gap over welfare",
}


def books(markets: int, seats: int) -> tuple[Orders, Context]:
    """Return random books; limits uniform between the grid's prices."""
    draw = torch.Generator().manual_seed(0)
    shape = (markets, seats)
    quantity = torch.rand(shape, generator=draw, dtype=torch.float64) * 10 - 5
    limit = 0.08 + 0.26 * torch.rand(shape, generator=draw, dtype=torch.float64)
    ceiling, floor = (
        torch.full((markets, 1), price, dtype=torch.float64) for price in (0.34, 0.08)
    )
    return Orders(quantity, limit, torch.zeros_like(limit)), Context(ceiling, floor, 0.25)


def curves(markets: int, seats: int, rounds: int) -> dict[str, ResidualCurves]:
    """Return each form's curves, [rounds, markets]."""
    orders, context = books(markets, seats)
    defaults = validate(AdmmConfig, option("market", "admm_sequential"))
    configs = {
        name: defaults if relaxation is None else defaults.model_copy(
            update={"relaxation": relaxation}
        )
        for name, (_, relaxation) in FORMS.items()
    }  # fmt: skip
    return {
        name: residual_curves(orders, context, configs[name], update, rounds)
        for name, (update, _) in FORMS.items()
    }


def draw(found: dict[str, ResidualCurves], tolerance: float, path: Path) -> None:
    """Draw medians, and for the sequential form the range of nine in ten books."""
    with style():
        figure, panels = plt.subplots(1, 3, figsize=(13, 4), sharex=True)
        for axes, (field, title) in zip(panels, PANELS.items(), strict=True):
            for name, look in LOOKS.items():
                values: Tensor = getattr(found[name], field)
                low, middle, high = quantiles(values)
                rounds = np.arange(1, len(middle) + 1)
                axes.plot(rounds, middle, label=name, **look)
                if name == "sequential":
                    axes.fill_between(rounds, low, high, color=BLUE, alpha=0.12, lw=0)
            axes.set(yscale="log", title=title, xlabel="rounds")
        panels[2].axhline(tolerance, color=GREY, ls=":", label="tolerance")
        panels[2].legend()
        partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        figure.savefig(partial)
        plt.close(figure)
    os.replace(partial, path)


def quantiles(values: Tensor) -> NDArray[np.float64]:
    """Return the 5 %, 50 % and 95 % quantiles over the markets, [3, rounds]."""
    found = np.quantile(values.numpy(), [0.05, 0.5, 0.95], axis=1)
    # A logarithmic axis has no zero.
    return np.where(found > 0, found, np.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--plot", type=places.plot, help="write the plot here")
    parser.add_argument("--markets", type=int, default=100)
    parser.add_argument("--seats", type=int, default=41)
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = curves(options.markets, options.seats, options.rounds)
    tolerance = validate(AdmmConfig, option("market", "admm_sequential")).tolerance
    if options.plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        draw(found, tolerance, options.plot)
    print(f"{'form':20} {'rounds to the tolerance: median':>32} {'nine in ten':>12}")
    for name, curve in found.items():
        within = (curve.gap <= tolerance).double()
        first = torch.where(within.amax(0) > 0, within.argmax(0) + 1.0, torch.inf)
        print(f"{name:20} {first.median():32.0f} {first.quantile(0.9):12.0f}")


if __name__ == "__main__":
    main()
