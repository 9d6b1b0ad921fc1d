"""Largest least excess over coalitions, by an interior-point method in batch.

maximise e  subject to  x(S) - v(S) >= e for the free coalitions S,  x(F) as it is for the settled

x moves in the null space of the settled coalitions alone, by their projector. Mehrotra's predictor
and corrector (SIAM J. Optimization 2(4), 1992); the iterates go to the centre of the optimal face,
so that all coalitions that bind in every solution, and only they, keep a multiplier: these are what
the nucleolus settles next. The normal equations have one unknown per player and one more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets.games.coalitions import members

_TO_THE_WALL = 0.995  # part of the way to the nearest bound that a step takes
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


@dataclass(frozen=True)
class _Point:
    """Share x [B, K], least excess e [B, 1]; slack s and multiplier z [B, 2^K] of coalitions."""

    x: Tensor
    e: Tensor
    s: Tensor
    z: Tensor

    def moved(self, d: _Point, primal: Tensor, dual: Tensor) -> _Point:
        """Go the lengths [B, 1]; a length of zero stays, even where d is not a number."""

        def step(a: Tensor, b: Tensor, length: Tensor) -> Tensor:
            return torch.where(length > 0, a + length * b, a)

        return _Point(
            step(self.x, d.x, primal),
            step(self.e, d.e, primal),
            step(self.s, d.s, primal),
            step(self.z, d.z, dual),
        )


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

    Returns:
        share [B, K], which coalitions bind [B, 2^K], and whether the solution was found [B].
    """
    at = _start(coalitions, worth, free, share)
    for _ in range(_MOST_STEPS):
        gap = torch.where(free, at.s * at.z, 0.0).sum(-1, keepdim=True)
        moving = gap > _GAP
        if not bool(moving.any()):
            break
        at = _mehrotra(at, coalitions, free, rest, gap, moving)
    gap = torch.where(free, at.s * at.z, 0.0).sum(-1)
    return at.x, free & (at.z > at.s), gap <= _GAP


def _start(coalitions: Coalitions, worth: Tensor, free: Tensor, share: Tensor) -> _Point:
    """Begin at the share given, on the central path as far as the multipliers' sum tells."""
    excess = share @ coalitions.of.T - worth
    e = excess.where(free, torch.inf).amin(-1, keepdim=True) - 0.1
    s = (excess - e).where(free, 1.0)
    z = torch.where(free, 1 / s, 0.0)
    return _Point(share, e, s, z / z.sum(-1, keepdim=True))


def _mehrotra(
    at: _Point, coalitions: Coalitions, free: Tensor, rest: Tensor, gap: Tensor, moving: Tensor
) -> _Point:
    """Take one predictor-corrector step in the markets where `moving`, [B, 1], holds."""
    d = at.z / at.s
    K = at.x.shape[1]
    inner = coalitions.gram(d)
    across = (rest @ (d @ coalitions.of).unsqueeze(-1)).squeeze(-1)
    unit = torch.eye(K, dtype=d.dtype, device=d.device)
    size = inner.diagonal(dim1=-2, dim2=-1).amax(-1)[:, None, None]
    shares = rest @ inner @ rest + size * (unit - rest + _STILL * unit)
    # Cholesky reads the lower triangle alone.
    normal = torch.nn.functional.pad(shares, (0, 1, 0, 1))
    normal[:, K, :K], normal[:, K, K] = -across, d.sum(-1)
    factor, _ = torch.linalg.cholesky_ex(normal)

    def direction(aim: Tensor) -> _Point:
        """Solve for the step that brings the multipliers to `aim` less what the slacks move."""
        right = torch.cat(
            [
                (rest @ (aim @ coalitions.of).unsqueeze(-1)).squeeze(-1),
                1 - aim.sum(-1, keepdim=True),
            ],
            -1,
        )
        found = torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)
        x, e = (rest @ found[:, :K, None]).squeeze(-1), found[:, K:]
        s = torch.where(free, x @ coalitions.of.T - e, 0.0)
        return _Point(x, e, s, aim - at.z - d * s)

    guess = direction(torch.zeros_like(at.z))
    ahead = at.moved(guess, *_lengths(at, guess))
    mean = gap / free.sum(-1, keepdim=True)
    left = torch.where(free, ahead.s * ahead.z, 0.0).sum(-1, keepdim=True)
    centre = (left / gap.clamp(min=torch.finfo(gap.dtype).tiny)).clamp(0, 1) ** 3
    aim = direction(torch.where(free, (centre * mean - guess.s * guess.z) / at.s, 0.0))
    sound = moving & aim.e.isfinite()
    primal, dual = (torch.where(sound, _TO_THE_WALL * a, 0.0) for a in _lengths(at, aim))
    return at.moved(aim, primal, dual)


def _lengths(at: _Point, d: _Point) -> tuple[Tensor, Tensor]:
    """Return how far slacks and multipliers can go, [B, 1] each, at most 1."""

    def furthest(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(b < 0, -a / b, torch.inf).amin(-1, keepdim=True).clamp(max=1)

    return furthest(at.s, d.s), furthest(at.z, d.z)
