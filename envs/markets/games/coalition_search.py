"""Search for the coalitions that a share contents least, among more than can be listed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gridbazaar.envs.markets.games.coalitions import members
from gridbazaar.envs.markets.games.least_excess import PART

MOST_PLAYERS = 100
_LOW = 13  # players whose coalitions are tabled; those of the others are gone through
_PARENTS = 64  # coalitions whose neighbours are looked at, and then theirs
_DESCENTS = 6
# Sums of them tell coalitions apart, but for a chance of one in 2^64 a pair.
_WEIGHTS = np.random.default_rng(0).integers(-(2**62), 2**62, MOST_PLAYERS).tolist()


@dataclass(frozen=True)
class Game:
    """A market game of one market with the worth of all as its unit.

    Attributes:
        gain: [K, P] what each player gains at each price.
        beside: [P] what those gain who belong to every coalition.
    """

    gain: Tensor
    beside: Tensor

    def worth(self, of: Tensor) -> Tensor:
        """Return the worth [...] of coalitions [..., K]."""
        return (of @ self.gain + self.beside).amin(-1)


def all_below(game: Game, share: Tensor, rest: Tensor, level: float, most: int) -> Tensor:
    """Return coalitions whose excess is below a level, the least first, [n, K]; all are looked at.

    Args:
        game: of K players.
        share: [K].
        rest: [K, K] projector; coalitions that do not reach into it are settled and left out.
        level: of the excess.
        most: number returned.
    """
    K = len(share)
    low = min(K, _LOW)
    inside = members(low, share.device).to(share)
    outside = members(K - low, share.device).to(share)
    gain, has = inside @ game.gain[:low], inside @ share[:low]
    into = inside @ rest[:low]
    length = (into[:, :low] * inside).sum(-1)
    found, excesses = [], []
    for tail in outside:
        beside = tail @ game.gain[low:] + game.beside
        excess = has + tail @ share[low:] - (gain + beside).amin(-1)
        below = (excess < level).nonzero().squeeze(-1)
        # The square of the part in the projector's space, from both parts' and their product.
        square = length[below] + 2 * into[below, low:] @ tail + tail @ rest[low:, low:] @ tail
        below = below[square > PART]
        if len(below):
            rows = torch.cat([inside[below], tail.expand(len(below), -1)], -1)
            found.append(rows)
            excesses.append(excess[below])
    if not found:
        return share.new_zeros(0, K)
    order = torch.cat(excesses).argsort()[:most]
    return torch.cat(found)[order]


def some_below(
    game: Game, share: Tensor, rest: Tensor, level: float, most: int, known: Tensor
) -> Tensor:
    """As `all_below`, but look only at neighbours, by a member more or less, of coalitions known.

    The least content are followed to their neighbours for some rounds.

    Args:
        game, share, rest, level, most: as there.
        known: [C, K] coalitions.
    """
    K = len(share)
    flip = torch.eye(K, dtype=torch.bool, device=share.device)
    parents, found = known, known[:0]
    last = share.new_full((), torch.inf)
    for _ in range(_DESCENTS):
        rows = (parents.bool().unsqueeze(-2) ^ flip).flatten(0, 1)
        rows = _different(torch.cat([rows, found.bool()])).to(share)
        rows = rows[((rows @ rest) * rows).sum(-1) > PART]
        excess = rows @ share - game.worth(rows)
        order = excess.argsort(stable=True)
        parents, found = rows[order[:_PARENTS]], rows[order[:most]]
        if not len(order) or excess[order[0]] >= last:
            break
        last = excess[order[0]]
    return found[found @ share - game.worth(found) < level]


def _different(rows: Tensor) -> Tensor:
    """Return the rows [C, K] without those that stand there twice."""
    weight = torch.tensor(_WEIGHTS[: rows.shape[1]], device=rows.device)
    _, code = (rows * weight).sum(-1).unique(return_inverse=True)
    number = torch.arange(len(rows), device=rows.device)
    first = torch.full_like(number, len(rows)).scatter_reduce(0, code, number, "amin")
    return rows[first[first < len(rows)]]
