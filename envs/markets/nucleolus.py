"""Cooperative game: the nucleolus, which leaves the least contented coalition best off."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linprog

from envs.markets.base import MARKETS, Claim, Clearing, Context, MarketConfig, Orders
from envs.markets.coalitions import by_seat, members, players, share_out, traded, worths

Floats = NDArray[np.float64]

_BINDING = 1e-7  # multiplier above which a coalition's excess can grow no more
_FEASIBLE = 1e-10  # of the worth of all, by which a coalition may be worse off than the least
_LARGEST = 10.0  # excess over the worth of all: no game has more, but a part of one may


class NucleolusConfig(MarketConfig):
    """How large a game is solved.

    Attributes:
        max_players: seats with a partner to gain with; each more doubles the coalitions.
        beyond: what happens to a larger market: `grid` clears nothing and says that it did not
            converge, `error` raises ValueError.
    """

    max_players: Annotated[int, Field(ge=1, le=14)]
    beyond: Literal["grid", "error"]


@MARKETS.register("nucleolus")
class Nucleolus:
    """Trade of largest gain, shared out by the nucleolus.

    Among all ways to share out v(N), the nucleolus makes the smallest excess x(S) - v(S) over the
    coalitions largest, then the second smallest, and so on. It lies in the core, where no coalition
    gains by leaving; so it pays nothing to seats that could not trade. Linear programmes (HiGHS)
    find it one level at a time, market by market: slow, for small communities.

    Source: Schmeidler (1969), "The nucleolus of a characteristic function game", SIAM J. Applied
    Mathematics 17(6); the sequence of programmes is Maschler, Peleg and Shapley's (1979).
    """

    Config = NucleolusConfig
    claims: ClassVar[frozenset[Claim]] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "efficient"}
    )
    time_priority = False

    def __init__(self, config: NucleolusConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade at the uniform auction's volume and pay every seat its part of the gain."""
        game = players(orders.quantity_kw, orders.limit_price)
        solved = game.count <= self.config.max_players
        if self.config.beyond == "error" and not bool(solved.all()):
            market = int((~solved).nonzero()[0, 0])
            raise ValueError(
                f"nucleolus: market {market} has {int(game.count[market])} seats that can gain by "
                f"trading, expected at most {self.config.max_players} (max_players); use "
                "market=shapley, or market.beyond=grid to leave such markets to the grid"
            )
        value = torch.zeros_like(game.gain[..., 0])
        levels = torch.ones_like(game.count)
        for b in (solved & (game.count > 0)).nonzero().squeeze(-1).tolist():
            part = game.of(torch.tensor([b], device=value.device))
            K = part.gain.shape[-1]
            share, found = nucleolus(worths(part)[0].cpu().numpy())
            value[b, :K] = torch.as_tensor(share, device=value.device)
            solved[b] &= found > 0
            levels[b] = max(found, 1)
        cleared_kw = traded(orders)
        # The core leaves nothing to seats that do not trade; the solver leaves rounding.
        gained = by_seat(game, value, cleared_kw.shape[-1]).where(cleared_kw != 0, 0.0)
        return share_out(orders, context, cleared_kw, gained, solved, levels)


def nucleolus(worth: Floats) -> tuple[Floats, int]:
    """Return the nucleolus [K] of a game and the number of programmes solved, 0 if one failed.

    Args:
        worth: [2^K] of every coalition, numbered by the bits of its members.
    """
    K = len(worth).bit_length() - 1
    belongs = members(K, torch.device("cpu")).numpy().astype(np.float64)
    scale = worth[-1]
    if scale <= 0:
        return np.zeros(K), 1
    worth = worth / scale
    fixed, level = belongs[-1:], worth[-1:]
    free = np.ones(len(worth), bool)
    free[[0, -1]] = False
    size = belongs.sum(1)
    watched = (size == 1) | (size == K - 1)
    programmes = 0
    while free.any() and len(fixed) < K:
        programmes += 1
        excess, binding = _raise_least_excess(belongs, worth, free, watched, fixed, level)
        if not len(binding):
            return np.zeros(K), 0
        for s in binding:
            if np.linalg.matrix_rank(np.vstack([fixed, belongs[s]])) > len(fixed):
                fixed = np.vstack([fixed, belongs[s]])
                level = np.r_[level, worth[s] + excess]
        # What is a sum of settled coalitions is settled itself.
        basis = np.linalg.qr(fixed.T)[0]
        free &= np.abs(belongs - belongs @ basis @ basis.T).max(1) > 1e-9
    return np.linalg.lstsq(fixed, level, rcond=None)[0] * scale, max(programmes, 1)


def _raise_least_excess(
    belongs: Floats,
    worth: Floats,
    free: NDArray[np.bool_],
    watched: NDArray[np.bool_],
    fixed: Floats,
    level: Floats,
) -> tuple[float, NDArray[np.int64]]:
    """Make the least excess of the free coalitions largest; return it and who binds it.

    Only the `watched` coalitions enter the programme; those that its solution leaves worse off are
    added to them (in place) until none is. Nobody binds where the solver failed.
    """
    K = belongs.shape[1]
    while True:
        rows = np.flatnonzero(free & watched)
        if not len(rows):
            rows = np.flatnonzero(free)[:K]
            watched[rows] = True
        solution = linprog(
            np.r_[np.zeros(K), -1.0],
            A_ub=np.c_[-belongs[rows], np.ones(len(rows))],
            b_ub=-worth[rows],
            A_eq=np.c_[fixed, np.zeros(len(fixed))],
            b_eq=level,
            bounds=[(None, None)] * K + [(None, _LARGEST)],
            method="highs-ds",
        )
        if solution.status != 0:
            return 0.0, rows[:0]
        excess = solution.x[-1]
        left = np.where(free, belongs @ solution.x[:-1] - worth, np.inf)
        worse = np.argsort(left)[: 2 * K]
        worse = worse[left[worse] < excess - _FEASIBLE]
        if not len(worse):
            return excess, rows[-solution.ineqlin.marginals > _BINDING]
        watched[worse] = True
