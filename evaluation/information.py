"""Information that one series gives about another: mutual information, and what can be guessed.

For the privacy of a meter as Sun, Lampe and Wong (2017) measure it: what the metered load says of
the true one. All functions take series of T values in their last dimension, batched before it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEVELS = 8


def mutual_information(x: Tensor, y: Tensor, levels: int = LEVELS) -> Tensor:
    """Return the mutual information of two series in bits per value, [...] from [..., T].

    Each series is cut at its own quantiles into as many levels, equal values into one; the estimate
    is that of the counts, with the bias correction of Miller (1955): occupied cells less one over
    2 T for every entropy. It is of single values, so that what follows from their order in time is
    not in it, and by the cut never more in expectation than that of the values themselves.
    """
    return _from_counts(_joint_counts(_level(x, levels), _level(y, levels), levels))


def gaussian_information(correlation: Tensor) -> Tensor:
    """Return the mutual information of two jointly normal values, bits: -log2(1 - rho^2) / 2."""
    return -torch.log2(1 - correlation.square()) / 2


def guessed_share(x: Tensor, y: Tensor) -> Tensor:
    """Return the share of values of which y tells whether x lies above its median, [...].

    By the better of two rules, y above or below its own median; 0.5 is a coin's. For a load it
    stands for whether anybody is at home and busy.
    """
    high = x > x.median(-1, keepdim=True).values
    agree = (high == (y > y.median(-1, keepdim=True).values)).double().mean(-1)
    return torch.maximum(agree, 1 - agree)


def guessed_steps(x: Tensor, y: Tensor, least: float) -> Tensor:
    """Return the share of x's steps of at least `least` of which y's step tells the direction.

    By the better of two rules, as y or against it; no step of y is half a right guess. NaN without
    a step. For a load it stands for an appliance that is switched.
    """
    dx, dy = x.diff(dim=-1), y.diff(dim=-1)
    large = dx.abs() >= least
    right = ((dx.sign() * dy.sign() + 1) / 2 * large).sum(-1) / large.sum(-1)
    return torch.maximum(right, 1 - right)


def _level(x: Tensor, levels: int) -> Tensor:
    """Return the level 0 to `levels` - 1 of each value, by quantiles of its series; int64."""
    ordered = x.sort(-1).values.contiguous()
    at = [len_at * x.shape[-1] // levels for len_at in range(1, levels)]
    return torch.searchsorted(ordered[..., at].contiguous(), x.contiguous(), right=True)


def _joint_counts(x: Tensor, y: Tensor, levels: int) -> Tensor:
    """Return how often each pair of levels comes, float64 [..., levels, levels]."""
    pair = x * levels + y
    counts = torch.zeros(*pair.shape[:-1], levels**2, dtype=torch.float64, device=pair.device)
    counts.scatter_add_(-1, pair, torch.ones_like(pair, dtype=torch.float64))
    return counts.unflatten(-1, (levels, levels))


def _from_counts(counts: Tensor) -> Tensor:
    total = counts.sum((-2, -1))

    def entropy(n: Tensor) -> Tensor:
        p = n / total.unsqueeze(-1)
        occupied = (n > 0).sum(-1)
        return -torch.special.xlogy(p, p).sum(-1) + (occupied - 1) / (2 * total)

    whole = entropy(counts.sum(-1)) + entropy(counts.sum(-2)) - entropy(counts.flatten(-2))
    return (whole / math.log(2)).clamp(min=0)
