"""Random numbers of bidders, the same for a market whatever batch it is played in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.randomness import fold, uniform


@dataclass(frozen=True)
class Chance:
    """A day's stream per market.

    Attributes:
        seed: [B], taken from the bits of the market's first observation, which no neighbour in the
            batch can change.
        draws: how many were made.
    """

    seed: Tensor
    draws: int

    @classmethod
    def of(cls, observation: Tensor, seed: int) -> Chance:
        """Begin a day from its first observation [B, N, SIZE]."""
        # Vectorised arithmetic may leave -0 in one batch and 0 in another; their sum is 0.
        bits = (observation.float() + 0.0).contiguous().view(torch.int32).long()
        place = torch.arange(1, bits[0].numel() + 1, device=bits.device).view_as(bits[0])
        return cls(fold((bits * place).sum((1, 2)), seed), 0)

    def uniform(self, like: Tensor) -> tuple[Tensor, Chance]:
        """Return a draw in (0, 1) with the shape [B, N] of `like`, and the stream after it."""
        draw = uniform(self.seed, self.draws, like.shape[1:], like.dtype)
        return draw, Chance(self.seed, self.draws + 1)
