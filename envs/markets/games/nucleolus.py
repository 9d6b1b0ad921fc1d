"""Cooperative game: the nucleolus, which leaves the least contented coalition best off."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.envs.markets.games.coalitions import by_seat, players, share_out, traded, worths
from gridbazaar.envs.markets.games.least_excess import (
    Coalitions,
    inverse_and_rest,
    raise_least_excess,
    settle,
)
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS

_CELLS = 2**20  # coalitions that are solved side by side; more leave the processor's cache


class NucleolusConfig(MarketConfig):
    """How large a game is solved."""

    max_players: Annotated[int, Field(ge=1, le=14)] = Field(
        description="seats with a partner to gain with; each more doubles the coalitions",
    )
    beyond: Literal["grid", "error"] = Field(
        description="what happens to a larger market: grid clears nothing and says that it "
        "did not converge, error raises ValueError",
    )


@MARKETS.register("nucleolus")
class Nucleolus(Market):
    """Trade of largest gain, shared out by the nucleolus.

    Among all ways to share out v(N), the nucleolus makes the smallest excess x(S) - v(S) over the
    coalitions largest, then the second smallest, and so on. It lies in the core, where no coalition
    gains by leaving; so it pays nothing to seats that could not trade. A sequence of linear
    programmes over all coalitions finds it, for all markets with as many players at once. A market
    with more than `max_players` trades nothing, so that efficiency is not claimed.

    Source: Schmeidler (1969), "The nucleolus of a characteristic function game", SIAM J. Applied
    Mathematics 17(6); the sequence of programmes is Maschler, Peleg and Shapley's (1979).
    """

    Config = NucleolusConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})

    def __init__(self, config: NucleolusConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade at the uniform auction's volume and pay every seat its part of the gain."""
        game = players(orders.quantity_kw, orders.limit_price, orders.shared)
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
        for K in game.count.where(solved, 0).unique().tolist():
            for markets in (game.count == K).nonzero().squeeze(-1).split(max(_CELLS >> K, 1)):
                if K > 0:
                    share, taken, found = nucleolus(worths(game.of(markets)))
                    value[markets, :K], levels[markets], solved[markets] = share, taken, found
        cleared_kw = traded(orders)
        # The core leaves nothing to seats that do not trade; the solver leaves rounding.
        trades = orders.seats_with(cleared_kw)
        gained = by_seat(game, value, orders.seats).where(trades, 0.0)
        return share_out(orders, context, cleared_kw, gained, solved, levels)


def nucleolus(worth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the nucleolus of games with K players.

    Args:
        worth: [B, 2^K] of every coalition, numbered by the bits of its members, that of all
            positive; float64.

    Returns:
        share [B, K], the programmes solved [B], at least 1, and whether none of them failed [B].
    """
    B, K = len(worth), worth.shape[1].bit_length() - 1
    coalitions = Coalitions.among(K, worth)
    whole = worth[:, -1:]
    worth = worth / whole
    settled = torch.zeros_like(worth, dtype=torch.bool)
    settled[:, -1] = True
    level = worth.clone()
    share = worth.new_full((B, K), 1 / K)
    programmes = torch.zeros(B, dtype=torch.int64, device=worth.device)
    found = torch.ones(B, dtype=torch.bool, device=worth.device)
    left = torch.arange(B, device=worth.device)
    # Each programme settles a coalition that is no sum of those before.
    for _ in range(K - 1):
        rest = inverse_and_rest(coalitions.gram(settled[left].to(worth)))[1]
        free = coalitions.beyond(rest)
        open_ = free.any(-1)
        left, rest, free = left[open_], rest[open_], free[open_]
        if not len(left):
            break
        part = worth[left]
        centre, binds, solved = raise_least_excess(coalitions, part, free, rest, share[left])
        share[left], least = settle(coalitions, part, level[left], settled[left], binds, centre)
        level[left] = torch.where(binds, part + least, level[left])
        settled[left] |= binds
        programmes[left] += 1
        found[left] &= solved & binds.any(-1)
    return (share * whole).where(found.unsqueeze(-1), 0.0), programmes.clamp(min=1), found
