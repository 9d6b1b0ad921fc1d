"""Primal-dual interior-point method for many small programmes side by side.

Mehrotra's predictor and corrector (SIAM J. Optimization 2(4), 1992). A programme says how its
bounds pair up with multipliers, how to solve its normal equations, and when a market has arrived;
such a market stays where it is, whoever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_TO_THE_WALL = 0.995  # part of the way to the nearest bound that a step takes


@dataclass(frozen=True)
class Iterate:
    """A point of B programmes, or a step from one.

    Attributes:
        slack, multiplier: [B, M] > 0, a pair for each bound; one of the two is zero at the optimum.
        primal, dual: [B, .] unknowns without a bound that move with the slacks or the multipliers.
    """

    slack: Tensor
    multiplier: Tensor
    primal: Tensor
    dual: Tensor

    def products(self, counts: Tensor) -> Tensor:
        """Return slack times multiplier of the pairs that count, [B, M]."""
        return (self.slack * self.multiplier).where(counts, 0.0)

    def lengths(self, step: Iterate) -> tuple[Tensor, Tensor]:
        """Return how far slacks and multipliers can go along a step, [B, 1] each, at most 1."""

        def furthest(here: Tensor, way: Tensor) -> Tensor:
            to_bound = torch.where(way < 0, -here / way, torch.inf)
            return to_bound.amin(-1, keepdim=True).clamp(max=1)

        return furthest(self.slack, step.slack), furthest(self.multiplier, step.multiplier)

    def moved(self, step: Iterate, primal: Tensor, dual: Tensor) -> Iterate:
        """Go the lengths, [B, 1] each; a length of zero stays, even where a step is no number."""

        def go(here: Tensor, length: Tensor, way: Tensor) -> Tensor:
            return torch.where(length > 0, here + length * way, here)

        return Iterate(
            go(self.slack, primal, step.slack),
            go(self.multiplier, dual, step.multiplier),
            go(self.primal, primal, step.primal),
            go(self.dual, dual, step.dual),
        )


class Programme(Protocol):
    """B convex programmes of one form."""

    @property
    def counts(self) -> Tensor:
        """Which pairs are more than padding, [B, M] bool; padding must stay where it is."""
        ...

    @property
    def one_length(self) -> bool:
        """Whether slacks and multipliers go equally far: what keeps a curved one stationary."""
        ...

    def is_open(self, at: Iterate, gap: Tensor) -> Tensor:
        """Return which programmes are not solved yet, [B, 1]; `gap` [B, 1] sums the products."""
        ...

    def newton(self, at: Iterate) -> Callable[[Tensor], Iterate]:
        """Return the step that changes the products by [B, M] and mends what is infeasible.

        The normal equations are factorised once, for the predictor and the corrector.
        """
        ...


def solve(programme: Programme, at: Iterate, max_steps: int) -> tuple[Iterate, Tensor, Tensor]:
    """Follow the central path from `at`, whose slacks and multipliers that count are positive.

    Returns:
        the points reached, which programmes were solved [B], and the steps each took [B].
    """
    steps = torch.zeros(len(at.slack), 1, dtype=torch.int64, device=at.slack.device)
    able = torch.ones_like(steps, dtype=torch.bool)
    for count in range(max_steps + 1):
        gap = at.products(programme.counts).sum(-1, keepdim=True)
        is_open = programme.is_open(at, gap)
        moving = is_open & able
        if count == max_steps or not bool(moving.any()):
            break
        step, primal, dual = _step(programme, at, gap)
        # Where rounding leaves no step, none is taken any more.
        able = able & (step.slack.sum(-1) + step.multiplier.sum(-1)).isfinite().unsqueeze(-1)
        moving = moving & able
        at = at.moved(step, torch.where(moving, primal, 0.0), torch.where(moving, dual, 0.0))
        steps = steps + moving
    return at, ~is_open.squeeze(-1), steps.squeeze(-1)


def _step(programme: Programme, at: Iterate, gap: Tensor) -> tuple[Iterate, Tensor, Tensor]:
    """Return a predictor-corrector step and its lengths, [B, 1] each."""
    counts, direction = programme.counts, programme.newton(at)
    products = at.products(counts)
    guess = direction(-products)
    left = at.moved(guess, *at.lengths(guess)).products(counts).sum(-1, keepdim=True)
    centre = (left / gap.clamp(min=torch.finfo(gap.dtype).tiny)).clamp(0, 1) ** 3
    target = centre * gap / counts.sum(-1, keepdim=True).clamp(min=1)
    aims = target - products - guess.slack * guess.multiplier
    step = direction(aims.where(counts, 0.0))
    primal, dual = (_TO_THE_WALL * length for length in at.lengths(step))
    if programme.one_length:
        primal = dual = torch.minimum(primal, dual)
    return step, primal, dual
