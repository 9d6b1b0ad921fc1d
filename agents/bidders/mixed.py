"""Population mixed by seat: several bidders, each of which decides for seats of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gridbazaar.agents.bidders.protocol import Bidder


class MixedBidder:
    """Plays every seat as the bidder chosen for it would play it.

    Each bidder sees the observations that it would see alone, and keeps a state of its own; of what
    it decides, only what its own seats do counts.

    Args:
        bidders: who plays.
        choice: int64 [N], the number among them of each seat's, or [B, N] by market.
    """

    def __init__(self, bidders: Sequence[Bidder], choice: Tensor):
        self._bidders, self._choice = tuple(bidders), choice

    def act(
        self, observation: Tensor, state: tuple[Any, ...] | None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Decide one interval; see Bidder."""
        before = state or (None,) * len(self._bidders)
        pairs = [
            bidder.act(observation, own) for bidder, own in zip(self._bidders, before, strict=True)
        ]
        action, choice = pairs[0][0], self._choice.to(observation.device).unsqueeze(-1)
        for number, (wanted, _) in enumerate(pairs[1:], 1):
            action = torch.where(choice == number, wanted, action)
        return action, tuple(own for _, own in pairs)
