"""Money of past intervals that waits for its block to become final."""

from __future__ import annotations

import math

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
        # [slots from now, B, N]; as long as the longest wait seen.
        self._waiting = like.new_zeros(0, *like.shape)
        self.locked = torch.zeros_like(like)

    def step(self, amount: Tensor, finality_s: Tensor) -> Tensor:
        """Lock this interval's amounts and return what is locked, on average over a slot from now.

        Args:
            amount: [B, N] currency moved in this interval.
            finality_s: [B] seconds until it is final; half a slot locks half of it for a slot.
        """
        wait = finality_s / self._slot_s
        slots = max(math.ceil(float(wait.amax())), len(self._waiting))
        if slots == 0:
            self.locked = torch.zeros_like(amount)
            return self.locked
        waiting = pad(self._waiting, (0, 0, 0, 0, 0, slots - len(self._waiting)))
        ahead = torch.arange(slots, device=wait.device).unsqueeze(-1)
        waiting = waiting + (wait - ahead).clamp(0, 1).unsqueeze(-1) * amount
        self.locked = waiting[0]
        self._waiting = waiting[1:]
        return self.locked
