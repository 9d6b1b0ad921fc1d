"""Cooperative game: every seat gains its Shapley value of the community's trade."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Seed
from gridbazaar.envs.markets.chunks import at_once
from gridbazaar.envs.markets.games.coalitions import (
    Players,
    by_seat,
    members,
    players,
    share_out,
    traded,
    worths,
)
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS


class ShapleyConfig(MarketConfig):
    """How the value is computed."""

    counted_orders: Literal["traded", "all"] = Field(
        description="of the game; traded: as far as they trade; all: whole, so that one that "
        "could replace another is paid for competing",
    )
    exact_players: Annotated[int, Field(ge=1, le=16)] = Field(
        description="up to how many seats that trade can gain from, all coalitions are counted",
    )
    samples: Annotated[int, Field(ge=4, multiple_of=2)] = Field(
        description="orders of joining that are drawn beyond, half of them the reverse of "
        "the others",
    )
    seed: Seed = Field(description="of the draws")


@MARKETS.register("shapley")
class Shapley(Market):
    """Trade of largest gain, shared out by the Shapley value.

    phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))
    is what i adds on average to those who came before it. The players are seats, each with all its
    orders. A seat is paid its limits for what it trades, and phi_i: so payments balance, and nobody
    gains less than nothing.

    Beyond `exact_players` the mean is over drawn orders of joining, the same for a seat whatever it
    is called; `shapley_value` returns its standard error.

    Source: Shapley (1953), "A value for n-person games"; Castro, Gomez and Tejada (2009),
    "Polynomial calculation of the Shapley value based on sampling", Computers & Operations
    Research 36(5), with antithetic orders.
    """

    Config = ShapleyConfig
    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "efficient"}
    )

    def __init__(self, config: ShapleyConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade at the uniform auction's volume and pay every seat its value."""
        cleared_kw = traded(orders)
        shared = cleared_kw if self.config.counted_orders == "traded" else orders.quantity_kw
        game = players(shared, orders.limit_price, orders.shared)
        value, _ = shapley_value(game, self.config)
        gained = by_seat(game, value, orders.seats)
        return share_out(orders, context, cleared_kw, gained, game.count >= 0)


def shapley_value(game: Players, config: ShapleyConfig) -> tuple[Tensor, Tensor]:
    """Return the value of every player and its standard error, [B, K] EUR per hour each."""
    value, error = (torch.zeros_like(game.gain[..., 0]) for _ in range(2))
    small = game.count <= config.exact_players
    for chosen, exact in ((small, True), (~small, False)):
        markets = chosen.nonzero().squeeze(-1)
        if len(markets):
            part = game.of(markets)
            K = part.gain.shape[-2]
            if exact:
                value[markets, :K] = _exact(part)
            else:
                value[markets, :K], error[markets, :K] = _sampled(part, config)
    plays = torch.arange(value.shape[-1], device=value.device) < game.count.unsqueeze(-1)
    return value.where(plays, 0.0), error.where(plays, 0.0)


def _exact(game: Players) -> Tensor:
    """Weigh what a player adds to every coalition."""
    K, device = game.gain.shape[-2], game.gain.device
    belongs = members(K, device)
    size = belongs.sum(-1, keepdim=True).to(game.gain)
    log_factorial = torch.lgamma(torch.arange(K + 2, device=device).to(game.gain) + 1)
    index = size.long()
    joined = (log_factorial[(index - 1).clamp(min=0)] + log_factorial[K - index]).exp()
    absent = (log_factorial[index] + log_factorial[(K - index - 1).clamp(min=0)]).exp()
    weight = torch.where(belongs, joined, -absent) / log_factorial[K].exp()
    return worths(game) @ weight


def _sampled(game: Players, config: ShapleyConfig) -> tuple[Tensor, Tensor]:
    """Average over drawn orders what a player adds to those before it; alike players share."""
    B, K = game.gain.shape[:2]
    # Row r of the draws is the same however many players there are.
    drawn = np.random.default_rng(config.seed).random((K, config.samples // 2))
    keys = torch.as_tensor(drawn, device=game.gain.device).T
    idle = torch.arange(K, device=keys.device) >= game.count.unsqueeze(-1)
    total, square = (torch.zeros_like(game.gain[..., 0]) for _ in range(2))
    for part in keys.split(at_once(B * K * game.gain.shape[-1])):
        order = part.expand(B, -1, -1).masked_fill(idle.unsqueeze(-2), 2.0).argsort(-1)
        pair = (_added(game, order) + _added(game, order.flip(-1))) / 2
        pair = _among_alike(pair, game)
        total += pair.sum(-2)
        square += pair.square().sum(-2)
    pairs = len(keys)
    mean = total / pairs
    variance = (square / pairs - mean.square()).clamp(min=0) / (pairs - 1)
    return mean, variance.sqrt()


def _added(game: Players, order: Tensor) -> Tensor:
    """Return what each player adds when they join in `order` [B, P, K], as [B, P, K]."""
    index = order.unsqueeze(-1).expand(*order.shape, game.gain.shape[-1])
    table = game.gain.unsqueeze(1).expand(-1, order.shape[1], -1, -1)
    worth = table.gather(-2, index).cumsum(-2).amin(-1)
    added = worth.diff(dim=-1, prepend=torch.zeros_like(worth[..., :1]))
    return torch.zeros_like(added).scatter(-1, order, added)


def _among_alike(value: Tensor, game: Players) -> Tensor:
    """Give players with the same order the mean of theirs."""
    alike = game.alike.to(value)
    return value @ (alike / alike.sum(-1, keepdim=True))
