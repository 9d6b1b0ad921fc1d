"""Nucleolus from the coalitions that matter, which are found as they are needed.

A programme over few coalitions has the same solution as the one over all, once none of the others
has less than its least excess there. So each programme of Maschler, Peleg and Shapley's sequence
is solved with those known, the worst of the others join, and it is solved again, until none is
left; then what binds is settled. Coalitions that are sums of settled ones are no matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets.games.coalition_search import Game, all_below, some_below
from gridbazaar.envs.markets.games.least_excess import (
    ListedCoalitions,
    inverse_and_rest,
    raise_least_excess,
    settle,
)

_BELOW = 1e-9  # of the worth of all, by which a coalition's excess must be less to join
_MOST_PROGRAMMES = 200


@dataclass(frozen=True)
class Generated:
    """Shares of B games with K players.

    Attributes:
        share: [B, K] EUR per hour.
        programmes: [B] that were solved.
        found: [B] bool, whether none of them failed.
        proven: [B] bool, whether the share is known to be the nucleolus.
    """

    share: Tensor
    programmes: Tensor
    found: Tensor
    proven: Tensor


class _Rows:
    """Coalitions of B games, padded to the longest list; those settled and their excess."""

    def __init__(self, gain: Tensor, beside: Tensor):
        B, K = gain.shape[:2]
        unit = torch.eye(K, dtype=gain.dtype, device=gain.device)
        first = torch.cat([torch.ones_like(unit[:1]), unit, 1 - unit])
        self.gain, self.beside = gain, beside
        self.of = first.expand(B, -1, -1)
        self.there = torch.ones(self.of.shape[:2], dtype=torch.bool, device=gain.device)
        self.settled = torch.zeros_like(self.there)
        self.settled[:, 0] = True
        self.level = self.worth = self._worth(self.of)

    def _worth(self, of: Tensor) -> Tensor:
        return (of @ self.gain + self.beside.unsqueeze(-2)).amin(-1)

    def add(self, lists: list[Tensor]) -> None:
        """Add a list [n, K] of coalitions to each game."""
        longest = max(len(one) for one in lists)
        pad = torch.nn.functional.pad
        more = torch.stack([pad(one, (0, 0, 0, longest - len(one))) for one in lists])
        there = torch.stack([torch.arange(longest) < len(one) for one in lists]).to(more.device)
        worth = self._worth(more)
        self.of = torch.cat([self.of, more], -2)
        self.there = torch.cat([self.there, there], -1)
        self.settled = torch.cat([self.settled, torch.zeros_like(there)], -1)
        self.worth = torch.cat([self.worth, worth], -1)
        self.level = torch.cat([self.level, worth], -1)


def generated_nucleolus(gain: Tensor, beside: Tensor, listed: bool, start: Tensor) -> Generated:
    """Find the nucleolus of games in which those beside belong to every coalition.

    Args:
        gain: [B, K, P] EUR per hour, what each player gains at each price.
        beside: [B, P] what the others gain together.
        listed: whether all coalitions are looked at, or neighbours of known ones alone.
        start: [B, K] a share to begin with, which adds up to the worth of all.
    """
    whole = (gain.sum(-2) + beside).amin(-1, keepdim=True)
    gain, beside = gain / whole.unsqueeze(-1), beside / whole
    rows, share = _Rows(gain, beside), (start / whole).detach()
    games = [Game(one, other) for one, other in zip(gain.detach(), beside.detach(), strict=True)]
    B = len(gain)
    programmes = torch.zeros(B, dtype=torch.int64, device=gain.device)
    found = torch.ones(B, dtype=torch.bool, device=gain.device)
    left = torch.arange(B, device=gain.device)
    for _ in range(_MOST_PROGRAMMES):
        old = rows.settled[left].to(gain)
        rest = inverse_and_rest(ListedCoalitions(rows.of[left]).gram(old))[1]
        free = ListedCoalitions(rows.of[left]).beyond(rest) & rows.there[left]
        open_ = free.any(-1) & found[left]
        left, rest, free = left[open_], rest[open_], free[open_]
        if not len(left):
            break
        among, worth = ListedCoalitions(rows.of[left]), rows.worth[left]
        centre, binds, solved = raise_least_excess(
            among, worth.detach(), free, rest, share[left].detach()
        )
        at, least = settle(among, worth, rows.level[left], rows.settled[left], binds, centre)
        programmes[left] += 1
        found[left] &= solved & binds.any(-1)
        more = _worse(games, rows, left, at.detach(), rest, least.detach(), listed)
        share = share.index_copy(0, left, at)
        holds = torch.tensor([not len(one) for one in more], device=gain.device)
        level = torch.where(binds & holds.unsqueeze(-1), worth + least, rows.level[left])
        rows.level = rows.level.index_copy(0, left, level)
        settled = rows.settled[left] | binds & holds.unsqueeze(-1)
        rows.settled = rows.settled.index_copy(0, left, settled)
        if not bool(holds.all()):
            lists = [gain.new_zeros(0, gain.shape[1])] * B
            for market, one in zip(left.tolist(), more, strict=True):
                lists[market] = one
            rows.add(lists)
    open_ = torch.zeros_like(found).index_fill(0, left, True) if len(left) else ~found
    # Rounding may leave a share just below nothing, and the sum just beside the worth of all.
    share = share.clamp(min=0)
    share = share * (whole / share.sum(-1, keepdim=True))
    return Generated(share, programmes, found, found & ~open_ & listed)


@torch.no_grad()
def _worse(
    games: list[Game],
    rows: _Rows,
    left: Tensor,
    share: Tensor,
    rest: Tensor,
    least: Tensor,
    listed: bool,
) -> list[Tensor]:
    """Return for each game that is left the coalitions with less than the least excess, [n, K]."""
    most = 2 * share.shape[1]
    more = []
    for market, has, onto, e in zip(left.tolist(), share, rest, least, strict=True):
        level = float(e) - _BELOW
        if listed:
            more.append(all_below(games[market], has, onto, level, most))
        else:
            known = rows.of[market][rows.there[market]]
            more.append(some_below(games[market], has, onto, level, most, known))
    return more
