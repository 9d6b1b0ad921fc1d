"""Stable matching: partners who prefer each other trade with each other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import NonNegative, Share
from gridbazaar.envs.markets.protocol import (
    Claim,
    Clearing,
    Context,
    GridContext,
    Market,
    MarketConfig,
    Orders,
)
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import at_mean_prices

# Preferences closer than this share of the longest distance count as equal, so that seats at the
# same bus do not win by rounding.
_SAME = 1e-6
# A seat is done when less than this many roundings of its order are left.
_ROUNDINGS = 64


class StableMatchingConfig(MarketConfig):
    """Parameters of the preferences and of the price."""

    green_weight: NonNegative = Field(
        description="bonus for own solar energy, in longest distances of the feeder",
        json_schema_extra={"unit": "1"},
    )
    k: Share = Field(description="of the way from the seller's limit (0) to the buyer's (1)")


class Trades(NamedTuple):
    """What each pair trades, one entry per pair and round.

    Attributes:
        market: [K] number in the batch.
        seller, buyer: [K] numbers among the market's sellers and its buyers.
        kw: [K] > 0.
    """

    market: Tensor
    seller: Tensor
    buyer: Tensor
    kw: Tensor


@MARKETS.register("stable_matching")
class StableMatching(Market):
    """Stable matching on preferences: the nearest partner first, a green source as a bonus.

    A buyer prefers the seller with the least distance / (longest distance) - green_weight *
    (1 where the seller's energy is from its own sun); a seller prefers the nearest buyer. A pair
    is acceptable where the ask is at most the bid, and trades at k * bid + (1 - k) * ask. Orders
    are divisible, so a seat may have several partners. No pair blocks the outcome: none has both
    sides wanting energy that they now trade with a partner they like less, or with nobody.

    Both sides rank a pair by the same score, since the bonus is the same for all buyers of a
    seller; then the pairs that are each other's best are certain, and taking them until none is
    left is what deferred acceptance arrives at. Equal preferences share pro rata. Without a feeder
    (Context.grid is None) nobody prefers anybody.

    Source: Gale and Shapley (1962), "College admissions and the stability of marriage", American
    Mathematical Monthly 69(1); divisible: Baïou and Balinski (2002), "The stable allocation (or
    ordinal transportation) problem", Mathematics of Operations Research 27(3).
    """

    Config = StableMatchingConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})

    def __init__(self, config: StableMatchingConfig):
        self.k = config.k
        self.green_weight = config.green_weight

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match until no acceptable pair has energy left."""
        seller, buyer = split(orders.quantity_kw)
        score = self.score(context.by_order(orders.owners).grid, orders.quantity_kw)
        pair_score = score[seller.unsqueeze(-1), buyer.unsqueeze(-2)]
        no_charge = torch.zeros_like(pair_score)
        return trade(orders, context, seller, buyer, pair_score, no_charge, self.k)

    def score(self, grid: GridContext | None, like: Tensor) -> Tensor:
        """Return how much a pair dislikes each other, [N, N]: seller in rows, buyer in columns."""
        N = like.shape[-1]
        if grid is None:
            return like.new_zeros(N, N)
        distance = grid.distance.to(like)
        far = distance.amax().clamp(min=torch.finfo(like.dtype).tiny)
        bonus = self.green_weight * grid.green.to(like).unsqueeze(-1)
        return ((distance / far - bonus) / _SAME).round()


def split(quantity_kw: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of asks [B, S] and of bids [B, D], padded with other orders'."""
    counts = torch.stack([quantity_kw > 0, quantity_kw < 0]).sum(-1).amax(-1).tolist()
    by_quantity = quantity_kw.argsort(-1, descending=True)
    return by_quantity[:, : counts[0]], by_quantity[:, quantity_kw.shape[-1] - counts[1] :]


def trade(
    orders: Orders,
    context: Context,
    seller: Tensor,
    buyer: Tensor,
    score: Tensor,
    charge: Tensor,
    k: float,
) -> Clearing:
    """Match the acceptable pairs, those with ask + charge <= bid, and bill them.

    Args:
        orders, context: as given to the market.
        seller, buyer: as `split` returns them.
        score: [B, S, D] as in `match`.
        charge: [B, S, D] EUR/kWh, what the buyer pays beside to the market operator.
        k: where the seller's price lies between its ask, 0, and the bid less the charge, 1.
    """
    quantity_kw, limit = orders.quantity_kw, orders.limit_price
    ask, net_bid = limit.gather(-1, seller), limit.gather(-1, buyer).unsqueeze(-2) - charge
    acceptable = ask.unsqueeze(-1) <= net_bid
    if orders.shared is not None:
        seat = orders.shared.seat
        acceptable &= seat[seller].unsqueeze(-1) != seat[buyer].unsqueeze(-2)
    trades, converged, rounds = match(
        quantity_kw.gather(-1, seller).clamp(min=0),
        quantity_kw.gather(-1, buyer).clamp(max=0).neg(),
        torch.where(acceptable, score, torch.inf),
    )
    market, kw = trades.market, trades.kw * converged[trades.market]
    pair = (market, trades.seller, trades.buyer)
    earned_price = torch.lerp(ask[pair[:2]], net_bid[pair], k)
    first = market * quantity_kw.shape[-1]
    seller_at, buyer_at = first + seller[pair[:2]], first + buyer[market, trades.buyer]
    none = torch.zeros_like(quantity_kw).reshape(-1)
    cleared_kw = none.index_add(0, seller_at, kw).index_add_(0, buyer_at, -kw).view_as(limit)
    earned = none.index_add(0, seller_at, kw * earned_price)
    money = earned.index_add_(0, buyer_at, -kw * (earned_price + charge[pair]))
    money = money.view_as(limit)
    return at_mean_prices(orders, context, cleared_kw, money, converged, iterations=rounds)


def match(supply_kw: Tensor, demand_kw: Tensor, score: Tensor) -> tuple[Trades, Tensor, Tensor]:
    """Match divisible supply and demand so that no pair blocks.

    Each round takes all pairs that are each other's best among those with energy left. Of pairs
    that tie, each gets the product of its two rests over the larger of its two seats' choices;
    that uses up a seat at least, so that the rounds end.

    Args:
        supply_kw: [B, S].
        demand_kw: [B, D].
        score: [B, S, D], the less the better for both, infinite where a pair must not trade.

    Returns:
        the trades, [B] whether no pair was left, and [B] the rounds, at least 1.
    """
    B, S, D = score.shape
    market = torch.arange(B, device=score.device)
    converged, rounds = torch.ones_like(market, dtype=torch.bool), torch.zeros_like(market)
    rest = torch.cat([supply_kw, demand_kw], -1)
    found = [Trades(market[:0], market[:0], market[:0], rest.new_zeros(0))]
    if S == 0 or D == 0:
        return found[0], converged, rounds + 1
    least = _ROUNDINGS * torch.finfo(rest.dtype).eps * rest
    name = torch.arange(S + D, device=score.device).expand(B, -1)
    # The tables of pairs are what costs: one copy, in which seats that are done are struck out.
    left = _Left(market, score.clone(), name, rest, least, torch.zeros_like(rest, dtype=torch.bool))
    left = left.strike(rest <= least)
    for _ in range(S + D + 1):
        left, best_buyer, best_seller = left.packed()
        if len(left.market) == 0:
            break
        rounds.index_add_(0, left.market, (best_buyer < torch.inf).any(1).squeeze(-1).long())
        best_buyer = best_buyer.where(best_buyer < torch.inf, -torch.inf)
        best = (left.score <= best_buyer).logical_and_(left.score <= best_seller)
        at, seller, buyer = best.nonzero().unbind(-1)
        sellers, both = left.score.shape[1], left.rest.shape[1]
        kw, rest = _trade(left.rest, at * both + seller, at * both + sellers + buyer)
        names = left.name[at, seller], left.name[at, sellers + buyer] - S
        found.append(Trades(left.market[at], *names, kw))
        left = left._replace(rest=rest).strike(rest <= left.least)
    columns = [torch.cat(values) for values in zip(*found, strict=True)]
    return Trades._make(columns), converged.index_fill(0, left.market, False), rounds.clamp(min=1)


class _Left(NamedTuple):
    """Markets and seats that may still trade.

    Attributes:
        market: [B] their numbers.
        score: [B, S, D] as in `match`, infinite where one of the two is gone; changed in place.
        name, rest, least, gone: [B, S + D] the seat's number, what it has left, the least that
            counts, and whether it is done.
    """

    market: Tensor
    score: Tensor
    name: Tensor
    rest: Tensor
    least: Tensor
    gone: Tensor

    def strike(self, gone: Tensor) -> _Left:
        """Let the seats that are `gone` have no partner."""
        S = self.score.shape[1]
        market, seat = (gone & ~self.gone).nonzero().unbind(-1)
        sells = seat < S
        self.score[market[sells], seat[sells]] = torch.inf
        self.score[market[~sells], :, seat[~sells] - S] = torch.inf
        return self._replace(gone=self.gone | gone)

    def packed(self) -> tuple[_Left, Tensor, Tensor]:
        """Leave out what is done where that is much; also return the best of rows and columns."""
        rows, columns = self.score.amin(-1, keepdim=True), self.score.amin(-2, keepdim=True)
        left, S = self, self.score.shape[1]
        alive = (rows < torch.inf).any(1).squeeze(-1)
        if 4 * alive.sum() < 3 * len(alive):
            rows, columns = rows[alive], columns[alive]
            left = _Left(*[values[alive] for values in left])
        if len(left.market) == 0:
            return left, rows, columns
        live = torch.stack(
            [(side < torch.inf).flatten(1).sum(-1).amax() for side in (rows, columns)]
        )
        sellers, buyers = live.tolist()
        if 4 * sellers * buyers > 2 * S * columns.shape[-1]:
            return left, rows, columns
        seller = rows.squeeze(-1).argsort(-1)[:, :sellers]
        buyer = columns.squeeze(-2).argsort(-1)[:, :buyers]
        market = torch.arange(len(seller), device=seller.device).view(-1, 1, 1)
        seat = torch.cat([seller, S + buyer], -1)
        kept = (values.gather(-1, seat) for values in left[2:])
        score = left.score[market, seller.unsqueeze(-1), buyer.unsqueeze(-2)]
        rows = rows.gather(1, seller.unsqueeze(-1))
        columns = columns.gather(2, buyer.unsqueeze(-2))
        return _Left(left.market, score, *kept), rows, columns


def _trade(rest: Tensor, seller_at: Tensor, buyer_at: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each pair trades [K] and what it leaves [B, S + D], both numbered flat."""
    flat = rest.view(-1)
    offered, wanted = flat[seller_at], flat[buyer_at]
    choice = torch.zeros_like(flat).index_add(0, seller_at, wanted)
    choice.index_add_(0, buyer_at, offered)
    kw = offered * wanted / torch.maximum(choice[seller_at], choice[buyer_at])
    left = flat.index_add(0, seller_at, -kw).index_add_(0, buyer_at, -kw)
    return kw, left.view(rest.shape)
