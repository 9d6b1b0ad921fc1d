"""Figures that a day's record alone does not give: they need another outcome of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.kpis import Better

# EUR per day: well above float32 rounding of a day's bill, below what anybody would notice.
_NOTICEABLE = 1e-3


class Figure(NamedTuple):
    """What such a figure is called and means."""

    unit: str
    better: Better
    meaning: str


FIGURES = {
    "savings": Figure("EUR/day", "higher", "Community cost of the grid alone less this one"),
    "savings_percent": Figure("%", "higher", "Mean savings over the grid alone's mean cost"),
    "optimum_share": Figure(
        "%", "higher", "Mean savings over the mean savings of the optimum with perfect foresight"
    ),
    "gini_of_savings": Figure(
        "1", "lower", "Gini coefficient of the seats' savings; only for days with savings"
    ),
    "seats_worse_off": Figure("seats", "lower", "Seats that paid more than with the grid alone"),
}
# Of two means, not means of the days' ratios: part, whole.
RATIOS = {
    "savings_percent": ("savings", "baseline_cost"),
    "optimum_share": ("savings", "optimum_savings"),
}


def compare(seat_cost: Tensor, baseline: Tensor) -> dict[str, Tensor]:
    """Return the figures [B] that two outcomes' costs per seat [B, N] EUR give."""
    saved = baseline - seat_cost
    return {
        "savings": saved.sum(-1),
        "gini_of_savings": gini(saved),
        "seats_worse_off": (saved < -_NOTICEABLE).sum(-1).double(),
    }


def gini(values: Tensor) -> Tensor:
    """Return the Gini coefficient [B] of [B, N]: half the mean difference over the mean.

    NaN unless the mean is positive. With negative values among them it may exceed 1.
    """
    seats = values.shape[-1]
    ordered = values.sort(-1).values
    weight = 2 * torch.arange(1, seats + 1, dtype=values.dtype, device=values.device) - seats - 1
    total = values.sum(-1)
    spread = (ordered * weight).sum(-1) / seats
    return torch.where(total > 0, spread / total, torch.nan)
