"""Non-cooperative price game: sellers ask what pays them best, given what the others ask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from envs.markets.base import MARKETS, Claim, Clearing, Context, MarketConfig, Orders
from envs.markets.pairs import pair_up


class PriceGameConfig(MarketConfig):
    """When the best responses count as an equilibrium.

    Attributes:
        tolerance: what a seller may still gain per kW offered, over the largest gain of a pair.
        max_rounds: of best responses, each seller once; then the market gives up.
    """

    tolerance: Annotated[float, Field(gt=0, lt=1)]
    max_rounds: Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class Game:
    """Classes of sellers with the same limit, cheapest first, and the buyers.

    Attributes:
        cost, supply: [B, S] of each class; a class without supply does not play.
        bid, demand: [B, K] of each buyer.
        scale: [B, 1] EUR/kWh, the largest gain of a pair.
        ask: [B, S] what each class asks.
    """

    cost: Tensor
    supply: Tensor
    bid: Tensor
    demand: Tensor
    scale: Tensor
    ask: Tensor


@MARKETS.register("price_game")
class PriceGame:
    """Sellers compete with asks for the price of a uniform auction; buyers take it or leave it.

    The cheapest asks are sold first, at equal asks the cheaper seller first, to the buyers who
    value it most; all at the dearest accepted ask. A seller's limit is its cost. From asks at cost,
    each seller in turn, cheapest first, moves to its best ask until nobody gains: a pure Nash
    equilibrium, in which one seller sets the price against the demand that the others leave, and
    the others ask less. Sellers with the same limit act as one and share pro rata.

    Source: von der Fehr and Harbord (1993), "Spot market competition in the UK electricity
    industry", Economic Journal 103(418), with the buyers' limits as elastic demand.
    """

    Config = PriceGameConfig
    claims: ClassVar[frozenset[Claim]] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "one_price"}
    )
    time_priority = False

    def __init__(self, config: PriceGameConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Play best responses; nothing is traded in a market that finds no equilibrium."""
        book = pair_up(orders, 0.0)
        cost, rank = book.ask.where(book.supply_kw > 0, torch.inf).sort(-1)
        later = torch.zeros_like(rank)
        later[:, 1:] = (cost[:, 1:] > cost[:, :-1]).cumsum(-1)
        ranked = book.supply_kw.gather(-1, rank)
        supply = torch.zeros_like(ranked).scatter_add(-1, later, ranked)
        first = torch.full_like(cost, torch.inf).scatter_reduce(-1, later, cost, "amin")
        game = Game(first, supply, book.bid, book.demand_kw, book.largest_gain, first)
        game, converged, rounds = play(game, self.config)

        sold, price = outcome(game)
        sold, price = sold * converged.unsqueeze(-1), price.unsqueeze(-1)
        share = torch.where(supply > 0, sold / supply.clamp(min=torch.finfo(cost.dtype).tiny), 0.0)
        sellers_kw = torch.zeros_like(ranked).scatter(-1, rank, share.gather(-1, later) * ranked)
        buyers_kw = _serve(game, sold.sum(-1, keepdim=True))
        nothing = torch.zeros_like(orders.quantity_kw, dtype=torch.float64)
        cleared = nothing.scatter_add(-1, book.sellers, sellers_kw)
        cleared = cleared.scatter_add(-1, book.buyers, -buyers_kw)
        price = torch.where(sold.sum(-1, keepdim=True) > 0, price, 0.0)
        dtype = orders.quantity_kw.dtype
        return Clearing(
            cleared_kw=cleared.to(dtype),
            price=(price * (cleared != 0)).to(dtype),
            payment_eur=(cleared * price * context.slot_h).to(dtype),
            reference_price=price.where(sold.sum(-1, keepdim=True) > 0, torch.nan)
            .squeeze(-1)
            .to(dtype),
            converged=converged,
            iterations=rounds,
        )


def play(game: Game, config: PriceGameConfig) -> tuple[Game, Tensor, Tensor]:
    """Return the game at its equilibrium, whether one was found, [B], and its rounds, [B]."""
    moved = torch.ones_like(game.scale[:, 0], dtype=torch.bool)
    rounds = torch.zeros_like(moved, dtype=torch.int64)
    for _ in range(config.max_rounds):
        # Where nobody moved, nobody will.
        rounds = rounds + moved
        moved = torch.zeros_like(moved)
        for i in range(game.cost.shape[-1]):
            ask, gain = best_response(game, i, config.tolerance)
            moves = gain > config.tolerance * game.scale[:, 0] * game.supply[:, i]
            changed = game.ask.clone()
            changed[:, i] = torch.where(moves, ask, game.ask[:, i])
            game = replace(game, ask=changed)
            moved |= moves
        if not bool(moved.any()):
            break
    return game, ~moved, rounds


def outcome(game: Game) -> tuple[Tensor, Tensor]:
    """Return what each class sells, [B, S] kW, and the price of all of it, [B] EUR/kWh."""
    cheaper = game.ask.unsqueeze(-2) < game.ask.unsqueeze(-1)
    equal = game.ask.unsqueeze(-2) == game.ask.unsqueeze(-1)
    ahead = ((cheaper | (equal & _before(game))) * game.supply.unsqueeze(-2)).sum(-1)
    sold = torch.minimum((_wanted(game, game.ask) - ahead).clamp(min=0), game.supply)
    return sold, game.ask.where(sold > 0, -torch.inf).amax(-1)


def best_response(game: Game, i: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return the best ask of class i against the others', [B], and what it gains by it, [B].

    Its profit falls only where a buyer or a cheaper ask drops in before it: the best price to set
    is a buyer's bid or another's ask, undercut where that one would be served first. The other
    candidate is its cost, which leaves the price to the others.
    """
    cost, size = game.cost[:, i : i + 1], game.supply[:, i : i + 1]
    served_first = torch.arange(game.cost.shape[-1], device=cost.device) < i
    undercut = game.ask - tolerance / 2 * game.scale * served_first
    candidates = torch.cat([game.bid, undercut], -1)
    others = game.supply.clone()
    others[:, i] = 0
    candidate, ask = candidates.unsqueeze(-1), game.ask.unsqueeze(-2)
    ahead = (((ask < candidate) | ((ask == candidate) & served_first)) * others.unsqueeze(-2)).sum(
        -1
    )
    sold = torch.minimum((_wanted(game, candidates) - ahead).clamp(min=0), size)
    fits = (candidates >= cost) & candidates.isfinite() & (sold > 0)
    profit, best = torch.where(fits, (candidates - cost) * sold, 0.0).max(-1)

    at_cost = game.ask.clone()
    at_cost[:, i] = game.cost[:, i]
    taking = _profit(replace(game, ask=at_cost), i)
    setting = candidates.gather(-1, best.unsqueeze(-1)).squeeze(-1)
    ask = torch.where(taking >= profit, cost.squeeze(-1), setting)
    return ask, torch.maximum(taking, profit) - _profit(game, i)


def _profit(game: Game, i: int) -> Tensor:
    """Return what class i earns, [B] EUR per hour."""
    sold, price = outcome(game)
    return torch.where(sold[:, i] > 0, (price - game.cost[:, i]) * sold[:, i], 0.0)


def _before(game: Game) -> Tensor:
    """Say which class (column) is served before which (row) at the same ask, [S, S]."""
    S = game.cost.shape[-1]
    return torch.ones(S, S, dtype=torch.bool, device=game.cost.device).tril(-1)


def _wanted(game: Game, price: Tensor) -> Tensor:
    """Return the demand of buyers whose bid is at or above each price [B, C]."""
    willing = game.bid.unsqueeze(-2) >= price.unsqueeze(-1)
    return (willing * game.demand.unsqueeze(-2)).sum(-1)


def _serve(game: Game, volume: Tensor) -> Tensor:
    """Serve the buyers by their bids, equal ones pro rata, [B, K] kW."""
    above = game.bid.unsqueeze(-2) > game.bid.unsqueeze(-1)
    level = game.bid.unsqueeze(-2) == game.bid.unsqueeze(-1)
    before = (above * game.demand.unsqueeze(-2)).sum(-1)
    beside = (level * game.demand.unsqueeze(-2)).sum(-1).clamp(min=torch.finfo(volume.dtype).tiny)
    return game.demand * ((volume - before) / beside).clamp(0, 1)
