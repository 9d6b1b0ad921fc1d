"""Key figures of an outcome beside the grid alone and the optimum on the same days."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.kpis import Kpi

# EUR per day: well above float32 rounding of a day's bill, below what anybody would notice.
_NOTICEABLE = 1e-3

FIGURES = {
    figure.name: figure
    for figure in (
        Kpi("savings", "EUR/day", "higher", "Community cost of the grid alone less this one"),
        Kpi("savings_percent", "%", "higher", "Mean savings over the grid alone's mean cost"),
        Kpi(
            "optimum_share",
            "%",
            "higher",
            "Mean savings over the mean savings of the optimum with perfect foresight",
        ),
        Kpi(
            "planner_share",
            "%",
            "higher",
            "Mean savings over the mean savings of the central planner on the same ledger",
        ),
        Kpi(
            "gini_of_savings",
            "1",
            "lower",
            "Gini coefficient of the seats' savings: 0 all alike, 1 one gains and one loses all",
        ),
        Kpi("seats_worse_off", "seats", "lower", "Seats that paid more than with the grid alone"),
    )
}
# Of two means, not means of the days' ratios: part, whole.
RATIOS = {
    "savings_percent": ("savings", "baseline_cost"),
    "optimum_share": ("savings", "optimum_savings"),
    "planner_share": ("savings", "planner_savings"),
}


@dataclass(frozen=True)
class Yardstick:
    """What all outcomes are held against.

    Attributes:
        seat_cost: [B, N] EUR a day with the grid alone.
        optimum_cost: [B] EUR a day of the optimum.
    """

    seat_cost: Tensor
    optimum_cost: Tensor

    def figures(self, seat_cost: Tensor, planned: Tensor | None = None) -> dict[str, Tensor]:
        """Return the figures [B] of an outcome that costs the seats so much, [B, N] EUR.

        `planned` is what the planner costs, [B] EUR, where it played.
        """
        found = compare(seat_cost, self.seat_cost) | self._wholes()
        if planned is not None:
            found["planner_savings"] = self.seat_cost.sum(-1) - planned
        return found

    def of_optimum(self) -> dict[str, Tensor]:
        """Return those [B] of the optimum itself, which knows no seats."""
        cost = {"community_cost": self.optimum_cost, "savings": self._optimum_savings()}
        return cost | self._wholes()

    def example_days(self, days: int) -> tuple[int, ...]:
        """Return the numbers of days of middling, low and high potential among the first `days`.

        Low and high are the tenth and the ninetieth percentile; of very few days there are fewer.
        """
        order = self._optimum_savings()[:days].argsort().tolist()
        ranks = (days // 2, days // 10, days - 1 - days // 10)
        return tuple(dict.fromkeys(order[rank] for rank in ranks))

    def _wholes(self) -> dict[str, Tensor]:
        """Return what ratios refer to."""
        cost = self.seat_cost.sum(-1)
        return {"baseline_cost": cost, "optimum_savings": self._optimum_savings()}

    def _optimum_savings(self) -> Tensor:
        saved = self.seat_cost.sum(-1) - self.optimum_cost
        # Where nothing can be won on any day, as without devices and sun, rounding is no whole.
        known = (saved.abs() > _NOTICEABLE) | saved.isnan()
        return saved if known.any() else torch.zeros_like(saved)


def compare(seat_cost: Tensor, baseline: Tensor) -> dict[str, Tensor]:
    """Return the figures [B] that two outcomes' costs per seat [B, N] EUR give."""
    saved = baseline - seat_cost
    return {
        "savings": saved.sum(-1),
        "gini_of_savings": gini(saved),
        "seats_worse_off": (saved < -_NOTICEABLE).sum(-1).double(),
    }


def gini(values: Tensor) -> Tensor:
    """Return the Gini coefficient [B] of [B, N], in [0, 1] with negative values among them too.

    The differences of all pairs over the most that they could come to with the same gains and the
    same losses, where one has all gains and another all losses. So normalised by Raffinetti,
    Siletti and Vernizzi, "On the Gini coefficient normalization when attributes with negative
    values are considered", Statistical Methods & Applications 24 (2015), 507-521; without negative
    values it is N / (N - 1) times half the mean difference over the mean. NaN where nobody gains or
    loses noticeably.
    """
    seats = values.shape[-1]
    ordered = values.sort(-1).values
    weight = 2 * torch.arange(1, seats + 1, dtype=values.dtype, device=values.device) - seats - 1
    pairs, total = (ordered * weight).sum(-1), values.abs().sum(-1)
    return torch.where(total > _NOTICEABLE, pairs / ((seats - 1) * total), torch.nan)
