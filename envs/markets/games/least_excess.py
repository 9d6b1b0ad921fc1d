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
_PART = 1e-8  # squared length below which a coalition is a sum of settled ones


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

    def gram(self, weight: Tensor) -> Tensor:
        """Return the sum of weight_S 1_S 1_S' over coalitions, [B, K, K] from [B, 2^K]."""
        K = self.of.shape[1]
        return (weight @ self.both).view(-1, K, K)

    def beyond(self, rest: Tensor) -> Tensor:
        """Return which coalitions reach into the subspace of a projector [B, K, K], [B, 2^K]."""
        return rest.flatten(1) @ self.both.T > _PART


@torch.no_grad()
def raise_least_excess(
    coalitions: Coalitions, worth: Tensor, free: Tensor, rest: Tensor, share: Tensor
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

    def __init__(self, coalitions: Coalitions, free: Tensor, rest: Tensor):
        self.coalitions, self.counts, self.rest = coalitions, free, rest

    def start(self, worth: Tensor, share: Tensor) -> Iterate:
        """Begin at the share given, on the central path as far as the multipliers' sum tells."""
        excess = share @ self.coalitions.of.T - worth
        e = excess.where(self.counts, torch.inf).amin(-1, keepdim=True) - 0.1
        s = (excess - e).where(self.counts, 1.0)
        z = torch.where(self.counts, 1 / s, 0.0)
        return Iterate(s, z / z.sum(-1, keepdim=True), torch.cat([share, e], -1), share[:, :0])

    def is_open(self, at: Iterate, gap: Tensor) -> Tensor:
        """Return where the multipliers do not tell yet who binds, [B, 1]."""
        return gap > _GAP

    def newton(self, at: Iterate) -> Callable[[Tensor], Iterate]:
        """Factorise the normal equations of shares and least excess."""
        s, z, of, rest = at.slack, at.multiplier, self.coalitions.of, self.rest
        d, K = z / s, of.shape[1]
        inner = self.coalitions.gram(d)
        across = (rest @ (d @ of).unsqueeze(-1)).squeeze(-1)
        unit = torch.eye(K, dtype=d.dtype, device=d.device)
        size = inner.diagonal(dim1=-2, dim2=-1).amax(-1)[:, None, None]
        shares = rest @ inner @ rest + size * (unit - rest + _STILL * unit)
        # Cholesky reads the lower triangle alone.
        normal = torch.nn.functional.pad(shares, (0, 1, 0, 1))
        normal[:, K, :K], normal[:, K, K] = -across, d.sum(-1)
        factor, _ = torch.linalg.cholesky_ex(normal)

        def direction(change: Tensor) -> Iterate:
            aim = torch.where(self.counts, z + change / s, 0.0)
            right = (rest @ (aim @ of).unsqueeze(-1)).squeeze(-1)
            right = torch.cat([right, 1 - aim.sum(-1, keepdim=True)], -1)
            found = torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)
            x, e = (rest @ found[:, :K, None]).squeeze(-1), found[:, K:]
            d_s = torch.where(self.counts, x @ of.T - e, 0.0)
            return Iterate(d_s, aim - z - d * d_s, torch.cat([x, e], -1), at.dual)

        return direction
