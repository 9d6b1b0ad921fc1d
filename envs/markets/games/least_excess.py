"""Largest least excess over coalitions, by an interior-point method in batch.

maximise e  subject to  x(S) - v(S) >= e for the free coalitions S,  x(F) as it is for the settled

x moves in the null space of the settled coalitions alone, by their projector. The iterates go to
the centre of the optimal face, so that all coalitions that bind in every solution, and only they,
keep a multiplier: these are what the nucleolus settles next. The normal equations have one unknown
per player and one more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets.games.coalitions import members
from gridbazaar.envs.markets.interior_point import Iterate, solve

_MOST_STEPS = 60
_GAP = 1e-14  # over the worth of all, at which the multipliers tell who binds
_STILL = 1e-13  # of the normal equations, holds the directions in which nothing presses
PART = 1e-8  # squared length below which a coalition is a sum of settled ones
_NOTHING = 1e-9  # of the largest, below which an eigenvalue is zero


@dataclass(frozen=True)
class Coalitions:
    """Who belongs to the 2^K coalitions.

    Attributes:
        of: [2^K, K] one where a player belongs.
        both: [2^K, K * K] one where two players belong.
    """

    of: Tensor
    both: Tensor

    @classmethod
    def among(cls, players: int, like: Tensor) -> Coalitions:
        """List the coalitions of so many players."""
        of = members(players, like.device).to(like)
        return cls(of, (of.unsqueeze(-1) * of.unsqueeze(-2)).flatten(1))

    def sums(self, share: Tensor) -> Tensor:
        """Return what the members of every coalition have together, [B, 2^K] from [B, K]."""
        return share @ self.of.T

    def by_player(self, weight: Tensor) -> Tensor:
        """Return the sum over a player's coalitions, [B, K] from [B, 2^K]."""
        return weight @ self.of

    def gram(self, weight: Tensor) -> Tensor:
        """Return the sum of weight_S 1_S 1_S' over coalitions, [B, K, K] from [B, 2^K]."""
        K = self.of.shape[1]
        return (weight @ self.both).view(-1, K, K)

    def beyond(self, rest: Tensor) -> Tensor:
        """Return which coalitions reach into the subspace of a projector [B, K, K], [B, 2^K]."""
        return rest.flatten(1) @ self.both.T > PART


@dataclass(frozen=True)
class ListedCoalitions:
    """Some coalitions of each market, as `Coalitions` has all.

    Attributes:
        of: [B, C, K] one where a player belongs.
    """

    of: Tensor

    def sums(self, share: Tensor) -> Tensor:
        """Return what the members of every coalition have together, [B, C] from [B, K]."""
        return (self.of @ share.unsqueeze(-1)).squeeze(-1)

    def by_player(self, weight: Tensor) -> Tensor:
        """Return the sum over a player's coalitions, [B, K] from [B, C]."""
        return (weight.unsqueeze(-2) @ self.of).squeeze(-2)

    def gram(self, weight: Tensor) -> Tensor:
        """Return the sum of weight_S 1_S 1_S' over coalitions, [B, K, K] from [B, C]."""
        return self.of.mT @ (weight.unsqueeze(-1) * self.of)

    def beyond(self, rest: Tensor) -> Tensor:
        """Return which coalitions reach into the subspace of a projector [B, K, K], [B, C]."""
        return ((self.of @ rest) * self.of).sum(-1) > PART


@torch.no_grad()
def raise_least_excess(
    coalitions: Coalitions | ListedCoalitions,
    worth: Tensor,
    free: Tensor,
    rest: Tensor,
    share: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Make the least excess of the free coalitions largest.

    Args:
        coalitions: of K players.
        worth: [B, 2^K] over the worth of all.
        free: [B, 2^K] bool, some in every market.
        rest: [B, K, K] projector on the changes that leave the settled coalitions as they are.
        share: [B, K] what the settled coalitions allow.

    The share at the centre of the optimal face has no derivative; those of the least excess follow
    from the coalitions that bind.

    Returns:
        share [B, K], which coalitions bind [B, 2^K], and whether the solution was found [B].
    """
    programme = _LeastExcess(coalitions, free, rest)
    at, found, _ = solve(programme, programme.start(worth, share), _MOST_STEPS)
    return at.primal[:, :-1], free & (at.multiplier > at.slack), found


class _LeastExcess:
    """The programme: a slack and a multiplier per coalition; shares and least excess are free."""

    one_length = False

    def __init__(self, coalitions: Coalitions | ListedCoalitions, free: Tensor, rest: Tensor):
        self.coalitions, self.counts, self.rest = coalitions, free, rest

    def start(self, worth: Tensor, share: Tensor) -> Iterate:
        """Begin at the share given, on the central path as far as the multipliers' sum tells."""
        excess = self.coalitions.sums(share) - worth
        e = excess.where(self.counts, torch.inf).amin(-1, keepdim=True) - 0.1
        s = (excess - e).where(self.counts, 1.0)
        z = torch.where(self.counts, 1 / s, 0.0)
        return Iterate(s, z / z.sum(-1, keepdim=True), torch.cat([share, e], -1), share[:, :0])

    def is_open(self, at: Iterate, gap: Tensor) -> Tensor:
        """Return where the multipliers do not tell yet who binds, [B, 1]."""
        return gap > _GAP

    def newton(self, at: Iterate) -> Callable[[Tensor], Iterate]:
        """Factorise the normal equations of shares and least excess."""
        s, z, rest = at.slack, at.multiplier, self.rest
        among = self.coalitions
        d, K = z / s, rest.shape[-1]
        inner = among.gram(d)
        across = (rest @ among.by_player(d).unsqueeze(-1)).squeeze(-1)
        unit = torch.eye(K, dtype=d.dtype, device=d.device)
        size = inner.diagonal(dim1=-2, dim2=-1).amax(-1)[:, None, None]
        shares = rest @ inner @ rest + size * (unit - rest + _STILL * unit)
        # Cholesky reads the lower triangle alone.
        normal = torch.nn.functional.pad(shares, (0, 1, 0, 1))
        normal[:, K, :K], normal[:, K, K] = -across, d.sum(-1)
        factor, _ = torch.linalg.cholesky_ex(normal)

        def direction(change: Tensor) -> Iterate:
            aim = torch.where(self.counts, z + change / s, 0.0)
            right = (rest @ among.by_player(aim).unsqueeze(-1)).squeeze(-1)
            right = torch.cat([right, 1 - aim.sum(-1, keepdim=True)], -1)
            found = torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)
            x, e = (rest @ found[:, :K, None]).squeeze(-1), found[:, K:]
            d_s = torch.where(self.counts, among.sums(x) - e, 0.0)
            return Iterate(d_s, aim - z - d * d_s, torch.cat([x, e], -1), at.dual)

        return direction


def settle(
    coalitions: Coalitions | ListedCoalitions,
    worth: Tensor,
    level: Tensor,
    settled: Tensor,
    binds: Tensor,
    x: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the share nearest to x that gives settled coalitions their level, binding ones alike.

    The excess of those that bind comes with it, [B, 1]. Solving for it anew keeps the interior
    point's rounding from one programme to the next.
    """
    old, new = settled.to(worth), binds.to(worth)
    of_new = coalitions.by_player(new)
    both = coalitions.gram(old + new)
    matrix = torch.cat(
        [
            torch.cat([both, -of_new.unsqueeze(-1)], -1),
            torch.cat([-of_new, new.sum(-1, keepdim=True)], -1).unsqueeze(-2),
        ],
        -2,
    )
    given = coalitions.by_player(old * level + new * worth)
    right = torch.cat([given, -(new * worth).sum(-1, keepdim=True)], -1)
    inverse, _ = inverse_and_rest(matrix)
    exact = (inverse @ right.unsqueeze(-1)).squeeze(-1)
    share, least = exact[:, :-1], exact[:, -1:]
    _, rest = inverse_and_rest(both)
    return share + (rest @ (x - share).unsqueeze(-1)).squeeze(-1), least


def inverse_and_rest(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return pseudo-inverse and projector on the null space of [B, n, n], positive semidefinite."""
    size, axes = torch.linalg.eigh(gram)
    there = size > _NOTHING * size[..., -1:]
    inverse = torch.where(there, 1 / size.where(there, 1.0), 0.0)
    return (axes * inverse.unsqueeze(-2)) @ axes.mT, (axes * ~there.unsqueeze(-2)) @ axes.mT
