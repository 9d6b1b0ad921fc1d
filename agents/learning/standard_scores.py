"""Standard scores of what networks see, and the running moments that they are made of.

Moments of parts add up to those of the whole (Chan, Golub, LeVeque 1979, STAN-CS-79-773, eq. 2.1),
so that it does not matter how many runners the rows come from.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

_LEAST_DEVIATION = 1e-4  # below it an entry never changes
_PART = 1 << 14  # rows that are held in double precision at once
_FURTHEST = 5.0  # deviations from the mean that a network sees


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations of rows, float64.

    Attributes:
        rows: how many, [].
        mean: [size].
        squares: [size].
    """

    rows: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Moments:
        """Return those of values [..., size]."""
        rows = values.reshape(-1, values.shape[-1])
        return reduce(operator.add, map(cls._of_part, rows.split(_PART)))

    @classmethod
    def _of_part(cls, rows: Tensor) -> Moments:
        variance, mean = torch.var_mean(rows.double(), 0, correction=0)
        count = torch.tensor(float(len(rows)), dtype=torch.float64)
        return cls(count, mean.cpu(), variance.cpu() * len(rows))

    def __add__(self, other: object) -> Moments:
        """Return the moments of both parts' rows."""
        if not isinstance(other, Moments):
            return NotImplemented
        rows = self.rows + other.rows
        apart = other.mean - self.mean
        mean = self.mean + apart * other.rows / rows
        squares = self.squares + other.squares + apart.square() * self.rows * other.rows / rows
        return Moments(rows, mean, squares)


class StandardScores(torch.nn.Module):
    """Values less their mean, over their deviation; both of all rows taken in so far.

    Until the first rows values pass as they are, within the bounds of scores.

    Args:
        size: entries of a row.
    """

    rows: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, size: int):
        super().__init__()
        # RLlib's checkpoints and its sync of weights make single precision of every number.
        self.register_buffer("rows", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("squares", torch.zeros(size))

    @property
    def deviation(self) -> Tensor:
        """Return the standard deviation [size]; 1 for what never changed."""
        deviation = (self.squares / self.rows.clamp(min=1)).sqrt()
        return torch.where(deviation > _LEAST_DEVIATION, deviation, 1.0)

    def forward(self, values: Tensor) -> Tensor:
        """Return the scores of values [..., size]."""
        scores = (values - self.mean.to(values)) / self.deviation.to(values)
        return scores.clamp(-_FURTHEST, _FURTHEST)

    def meant(self, scores: Tensor) -> Tensor:
        """Return the values [...] that scores of a single entry stand for."""
        return scores * self.deviation.to(scores) + self.mean.to(scores)

    @torch.no_grad()
    def take(self, moments: Moments) -> None:
        """Take in the moments of further rows."""
        buffers = (self.rows, self.mean, self.squares)
        so_far = Moments(*(buffer.double() for buffer in buffers))
        more = Moments(*(part.to(self.mean.device) for part in moments))
        for buffer, value in zip(buffers, so_far + more, strict=True):
            buffer.copy_(value)
