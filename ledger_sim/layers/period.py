"""Periods of several slots: when a writing is due, and for whom."""

from __future__ import annotations

import torch
from torch import Tensor


def slots_left(slot: int, period: int, slots_per_day: int) -> int:
    """Return how many slots after `slot` the period ends: every `period` slots, and every day."""
    of_day = slot % slots_per_day
    return min(period - 1 - of_day % period, slots_per_day - 1 - of_day)


class Period:
    """Remembers who was active since the last writing.

    Args:
        slots: between two writings.
        slots_per_day: the day's last slot ends a period, too.

    Attributes:
        active: bool [B] or [B, N], who was; None where nobody was asked about yet.
    """

    def __init__(self, slots: int, slots_per_day: int) -> None:
        self.slots, self._slots_per_day = slots, slots_per_day
        self.active: Tensor | None = None

    def reset(self) -> None:
        """Forget everyone."""
        self.active = None

    def left(self, slot: int) -> int:
        """Return the slots from `slot` to the one that ends its period; 0 where it is due."""
        return slots_left(slot, self.slots, self._slots_per_day)

    def due(self, slot: int, active: Tensor) -> Tensor:
        """Add those active in `slot`, bool of any one shape; return for whom it is due now."""
        self.note(active)
        if self.left(slot):
            return torch.zeros_like(active)
        now, self.active = self.active, None
        assert now is not None
        return now

    def note(self, active: Tensor) -> None:
        """Add those active, to be asked for later."""
        self.active = active if self.active is None else self.active | active
