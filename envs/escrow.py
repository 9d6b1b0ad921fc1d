"""Money of past intervals that waits for its block to become final."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


class Escrow:
    """Amounts per seat, released slot by slot.

    Args:
        slot_s: seconds of an interval.
        like: a [B, N] tensor whose shape, type and device the amounts share.
    """

    def __init__(self, slot_s: float, like: Tensor):
        self._slot_s = slot_s
        # [slots still to wait, B, N]; grows with the longest wait seen.
        self._waiting = like.new_zeros(0, *like.shape)
        self.locked = torch.zeros_like(like)

    def step(self, amount: Tensor, finality_s: Tensor) -> Tensor:
        """Lock this interval's amounts, let a slot pass, and return what is still locked.

        Args:
            amount: [B, N] currency moved in this interval.
            finality_s: [B] seconds until it is final; less than a slot locks nothing.
        """
        lag = (finality_s / self._slot_s).floor()
        longest = int(lag.amax())
        if longest == 0 and len(self._waiting) == 0:
            return self.locked
        slots = max(longest, len(self._waiting))
        waiting = pad(self._waiting, (0, 0, 0, 0, 0, slots - len(self._waiting)))
        ahead = torch.arange(1, slots + 1, device=lag.device).unsqueeze(-1)
        waiting = waiting + (lag == ahead).unsqueeze(-1) * amount
        self.locked = waiting.sum(0)
        self._waiting = waiting[1:]
        return self.locked
