"""Money of past intervals that waits for its block to become final."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

# An episode is a day: what is locked beyond its end is seen by nobody.
_DAY_S = 24 * 3600


@dataclass(frozen=True)
class Escrow:
    """Amounts per seat that are released slot by slot.

    Attributes:
        waiting: [B, W, N] currency locked in each of the slots to come, the next one first; W is
            the longest wait of the batch, a day at most.
    """

    waiting: Tensor

    @classmethod
    def empty(cls, like: Tensor) -> Escrow:
        """Return an escrow that holds nothing, of the seats of `like` [B, N]."""
        return cls(like.new_zeros(len(like), 0, like.shape[-1]))

    def step(self, amount: Tensor, finality_s: Tensor, slot_s: float) -> tuple[Tensor, Escrow]:
        """Lock an interval's amounts.

        Args:
            amount: [B, N] currency moved in this interval.
            finality_s: [B] seconds until it is final; half a slot locks half of it for a slot.
            slot_s: seconds of an interval.

        Returns:
            what is locked, on average over a slot from now, [B, N], and the escrow after that slot.
        """
        wait = finality_s / slot_s
        longest = min(float(wait.amax()), _DAY_S / slot_s)
        slots = max(math.ceil(longest), self.waiting.shape[1])
        if slots == 0:
            return torch.zeros_like(amount), self
        ahead = torch.arange(slots, device=wait.device)
        share = (wait.unsqueeze(-1) - ahead).clamp(0, 1).unsqueeze(-1)
        waiting = self._of(slots) + share * amount.unsqueeze(1)
        return waiting[:, 0], Escrow(waiting[:, 1:])

    def pick_rows(self, rows: Tensor) -> Escrow:
        """Return some markets' escrow; see `gridbazaar.rows`."""
        return Escrow(self.waiting[rows])

    def replace_rows(self, rows: Tensor, other: Escrow) -> Escrow:
        """Return the escrow with some markets replaced; see `gridbazaar.rows`."""
        slots = max(self.waiting.shape[1], other.waiting.shape[1])
        return Escrow(self._of(slots).index_copy(0, rows, other._of(slots)))

    def _of(self, slots: int) -> Tensor:
        """Return the amounts with room for so many slots."""
        return pad(self.waiting, (0, 0, 0, slots - self.waiting.shape[1]))
