"""Cooperative game: the nucleolus, which leaves the least contented coalition best off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.envs.markets.games.coalition_search import MOST_PLAYERS
from gridbazaar.envs.markets.games.coalitions import (
    Players,
    by_seat,
    players,
    share_out,
    traded,
    worths,
)
from gridbazaar.envs.markets.games.core import Core, core_of
from gridbazaar.envs.markets.games.generated_coalitions import generated_nucleolus
from gridbazaar.envs.markets.games.least_excess import (
    Coalitions,
    inverse_and_rest,
    raise_least_excess,
    settle,
)
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS

_CELLS = 2**20  # coalitions that are solved side by side; more leave the processor's cache
_ROWS = 2**9  # games that are searched side by side


class NucleolusConfig(MarketConfig):
    """How large a game is solved, and how."""

    max_players: Annotated[int, Field(ge=1, le=14)] = Field(
        description="seats with a partner to gain with, up to which all coalitions are listed; "
        "each more doubles them",
    )
    proven_players: Annotated[int, Field(ge=1, le=24)] = Field(
        description="seats to which the core leaves a choice, up to which a larger market's "
        "coalitions are all looked at for those that matter; each more doubles the time",
    )
    most_players: Annotated[int, Field(ge=1, le=MOST_PLAYERS)] = Field(
        description="such seats up to which coalitions are searched for, with a gap that is told",
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
    programmes over all coalitions finds it, for all markets with as many players at once.

    Above `max_players` the structure of the market game helps. Where what all lose without each
    seat adds up to the worth of all, the core is one point, and this is it. Seats that nobody would
    miss have nothing in the whole core: whoever leaves takes them along, and only the others play
    on. Their programmes list the coalitions that matter, which are generated: up to
    `proven_players` from all, and the result is exact; up to `most_players` from the neighbours of
    those known, and `nucleolus_shares` tells a bound of what it may be off. A larger market trades
    nothing, so that efficiency is not claimed.

    Source: Schmeidler (1969), "The nucleolus of a characteristic function game", SIAM J. Applied
    Mathematics 17(6); the sequence of programmes is Maschler, Peleg and Shapley's (1979); that few
    coalitions matter, Huberman (1980), "The nucleolus and the essential coalitions", LNCIS 28.
    """

    Config = NucleolusConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})

    def __init__(self, config: NucleolusConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade at the uniform auction's volume and pay every seat its part of the gain."""
        game = players(orders.quantity_kw, orders.limit_price, orders.shared)
        shares = nucleolus_shares(game, self.config)
        if self.config.beyond == "error" and not bool(shares.found.all()):
            market = int((~shares.found).nonzero()[0, 0])
            raise ValueError(
                f"nucleolus: market {market} has {int(game.count[market])} seats that can gain by "
                f"trading, expected at most {self.config.most_players} (most_players) to which the "
                "core leaves a choice; use market=shapley, or market.beyond=grid to leave such "
                "markets to the grid"
            )
        cleared_kw = traded(orders)
        # The core leaves nothing to seats that do not trade; the solver leaves rounding.
        trades = orders.seats_with(cleared_kw)
        gained = by_seat(game, shares.value, orders.seats).where(trades, 0.0)
        return share_out(orders, context, cleared_kw, gained, shares.found, shares.programmes)


@dataclass(frozen=True)
class Shares:
    """What the players of B games get.

    Attributes:
        value: [B, K] EUR per hour; zero where none was found.
        programmes: [B] that were solved, at least 1.
        found: [B] bool, false where a game is too large or a programme failed.
        gap: [B] EUR per hour, by how much a share may miss the nucleolus; zero where that is
            proven.
    """

    value: Tensor
    programmes: Tensor
    found: Tensor
    gap: Tensor


def nucleolus_shares(game: Players, config: NucleolusConfig) -> Shares:
    """Return the shares of market games, exact up to `proven_players`, a bound of the gap above."""
    value, gap = torch.zeros_like(game.gain[..., 0]), torch.zeros_like(game.gain[:, 0, 0])
    programmes, found = torch.ones_like(game.count), torch.ones_like(game.count, dtype=torch.bool)
    small = game.count <= config.max_players
    for K in game.count.where(small, 0).unique().tolist():
        for markets in (game.count == K).nonzero().squeeze(-1).split(max(_CELLS >> K, 1)):
            if K > 0:
                share, taken, solved = nucleolus(worths(game.of(markets)))
                value[markets, :K], programmes[markets], found[markets] = share, taken, solved
    if bool((~small).any()):
        core = core_of(game)
        point = ~small & core.is_point
        value = torch.where(point.unsqueeze(-1), core.point, value)
        active = core.active.sum(-1)
        for K in active.where(~small & ~point, 0).unique().tolist():
            for markets in ((active == K) & ~small & ~point).nonzero().squeeze(-1).split(_ROWS):
                if K == 0 or not len(markets):
                    continue
                if config.most_players < K:
                    found[markets] = False
                    continue
                got = _of_active(game, core, markets, K, listed=config.proven_players >= K)
                value[markets] = got.value
                programmes[markets], found[markets] = got.programmes, got.found
                gap[markets] = got.gap
    return Shares(value, programmes, found, gap)


def _of_active(game: Players, core: Core, markets: Tensor, K: int, listed: bool) -> Shares:
    """Share out games in which K seats may have something; whoever leaves takes the others along.

    What the core leaves open bounds how far a share may be off that is not proven.
    """
    active = core.active[markets]
    seats = (~active).to(torch.int8).argsort(dim=-1, stable=True)[:, :K]
    gain = game.gain[markets]
    beside = (gain * ~active.unsqueeze(-1)).sum(-2)
    of_active = gain.gather(-2, seats.unsqueeze(-1).expand(-1, -1, gain.shape[-1]))
    most, room = core.most[markets].gather(-1, seats), core.room[markets].unsqueeze(-1)
    got = generated_nucleolus(of_active, beside, listed, core.point[markets].gather(-1, seats))
    off = torch.maximum(most - got.share, got.share - (most - room).clamp(min=0))
    share = got.share.where(got.found.unsqueeze(-1), 0.0)
    value = torch.zeros_like(gain[..., 0]).scatter(-1, seats, share)
    gap = off.amax(-1).clamp(min=0).where(~got.proven, 0.0)
    return Shares(value, got.programmes.clamp(min=1), got.found, gap.detach())


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
