"""Core of the market game: what a seat can have in it at most, and whom it leaves a choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets.games.coalitions import Players

_ROUNDING = 1e-10  # of the worth of all, below which there is nothing to share


@dataclass(frozen=True)
class Core:
    """Bounds of the core.

    No group wants to leave only if nobody has more than what all lose without it, M_i = v(N) -
    v(N - i). The others have at least v(N) less all these: in the core everybody is within the sum
    of M less v(N) of its M. Where that is nothing, the core is one point, and the nucleolus is it.

    Attributes:
        whole: [B, 1] EUR per hour, the worth of all.
        most: [B, K] EUR per hour, M.
        room: [B] EUR per hour, the sum of M less the worth of all.
        active: [B, K] bool, who can have anything; the others have nothing in the whole core.
    """

    whole: Tensor
    most: Tensor
    room: Tensor
    active: Tensor

    @property
    def is_point(self) -> Tensor:
        """Which markets' core is one point, [B] bool."""
        return self.room <= _ROUNDING * self.whole.squeeze(-1)

    @property
    def point(self) -> Tensor:
        """What everybody has there, [B, K]; its sum is the worth of all."""
        total = self.most.sum(-1, keepdim=True)
        return self.most * (self.whole / torch.where(total > 0, total, 1.0))


def core_of(game: Players) -> Core:
    """Return the bounds of games; players beyond their count have nothing."""
    total = game.gain.sum(-2, keepdim=True)
    whole = total.amin(-1)
    most = (whole - (total - game.gain).amin(-1)).clamp(min=0)
    return Core(whole, most, most.sum(-1) - whole.squeeze(-1), most > _ROUNDING * whole)
