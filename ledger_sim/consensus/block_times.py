"""Block times within a slot: by the clock, or as they were drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# Blocks that fall on a slot's edge, a deadline or an arrival count as meeting it despite rounding.
EDGE = 1e-6


class Blocks(Protocol):
    """The blocks of one slot, numbered from 0 by time; times in seconds since the slot's start."""

    @property
    def count(self) -> int:
        """Most blocks that any environment has up to and including the slot's end."""

    @property
    def mean_count(self) -> Tensor | float:
        """Blocks in the slot, [B] or the same for all."""

    @property
    def closing(self) -> Tensor | int:
        """Blocks no later than the deadline, [B, 1] or the same for all."""

    def time_s(self, block: Tensor) -> Tensor:
        """Return the times of blocks [B, M] (float64 numbers); inf where there is no such block."""

    def earliest(self, arrival_s: Tensor) -> Tensor:
        """Return the first block at or after each arrival [B, M], as float64; inf stays inf."""


@dataclass(frozen=True, slots=True)
class RegularBlocks:
    """A block at every multiple of T.

    Attributes:
        first_s: time of block 0, after the slot's start.
        interval_s: time T between blocks.
        count: blocks up to and including the slot's end; 0 if the interval outlasts the slot.
        closing: how many of them come no later than the deadline.
    """

    first_s: float
    interval_s: float
    count: int
    closing: int

    @property
    def mean_count(self) -> float:
        """Blocks in the slot."""
        return float(self.count)

    def time_s(self, block: Tensor) -> Tensor:
        """Return the times of blocks [B, M]; inf beyond the slot's end."""
        time_s = block * self.interval_s + self.first_s
        return time_s.masked_fill_(block >= self.count, torch.inf)

    def earliest(self, arrival_s: Tensor) -> Tensor:
        """Return the first block at or after each arrival, as float; inf stays inf."""
        after_first = (arrival_s - (self.first_s + EDGE * self.interval_s)) / self.interval_s
        return after_first.ceil_().clamp_(min=0)


def regular_blocks(slot: int, slot_s: float, interval_s: float, deadline_s: float) -> RegularBlocks:
    """Return the blocks of slot number `slot` on a chain with a block at every multiple of T > 0.

    An interval that does not divide the slot goes on across its edge.
    """
    start_s = slot * slot_s
    first = math.floor(start_s / interval_s + EDGE) + 1
    last = math.floor((start_s + slot_s) / interval_s + EDGE)
    first_s = first * interval_s - start_s
    count = last - first + 1
    by_deadline = math.floor((deadline_s - first_s) / interval_s + EDGE) + 1
    return RegularBlocks(first_s, interval_s, count, closing=min(max(by_deadline, 0), count))


@dataclass(frozen=True, slots=True)
class DrawnBlocks:
    """Blocks whose times were drawn for each environment, or stand for all.

    Attributes:
        times_s: float64 [B, K] or [1, K], rising; inf after an environment's last block.
        closing: int64 [B, 1] or [1, 1], how many come no later than the deadline.
    """

    times_s: Tensor
    closing: Tensor

    @property
    def count(self) -> int:
        """Most blocks that any environment has."""
        return self.times_s.shape[1]

    @property
    def mean_count(self) -> Tensor:
        """Blocks in the slot, [B] or [1]."""
        return self.times_s.isfinite().sum(-1).double()

    def time_s(self, block: Tensor) -> Tensor:
        """Return the times of blocks [B, M]; inf where there is no such block."""
        never = self.times_s.new_full((len(self.times_s), 1), torch.inf)
        table = torch.cat([self.times_s, never], 1).expand(len(block), -1)
        return table.gather(1, block.clamp(max=self.count).long())

    def earliest(self, arrival_s: Tensor) -> Tensor:
        """Return the first block at or after each arrival, as float; inf stays inf."""
        times = self.times_s[0] if len(self.times_s) == 1 else self.times_s
        found = torch.searchsorted(times, arrival_s.contiguous()).double()
        return found.masked_fill_(arrival_s == torch.inf, torch.inf)


def drawn_blocks(times_s: Tensor, deadline_s: float) -> DrawnBlocks:
    """Return blocks at times, float64 [B, K] or [1, K], that rise; inf where there is none."""
    return DrawnBlocks(times_s, (times_s <= deadline_s).sum(1, keepdim=True))
