"""Stable matching: partners who prefer each other trade with each other."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from envs.markets.base import MARKETS, Claim, Clearing, Context, MarketConfig, Orders, Place
from envs.markets.trade_price import mean_price

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# Preferences closer than this share of the longest distance count as equal, so that seats at the
# same bus do not win by rounding.
_SAME = 1e-6
# A seat is done when less than this many roundings of its order are left.
_ROUNDINGS = 64


class StableMatchingConfig(MarketConfig):
    """Parameters of the preferences and of the price."""

    green_weight: NonNegative
    k: Annotated[float, Field(ge=0, le=1)]


@MARKETS.register("stable_matching")
class StableMatching:
    """Stable matching on preferences: the nearest partner first, a green source as a bonus.

    A buyer prefers the seller with the least distance / (longest distance) - green_weight *
    (1 where the seller's energy is from its own sun); a seller prefers the nearest buyer. A pair
    is acceptable where the ask is at most the bid, and trades at k * bid + (1 - k) * ask. Orders
    are divisible, so a seat may have several partners. No pair blocks the outcome: none has both
    sides wanting energy that they now trade with a partner they like less, or with nobody.

    Both sides rank a pair by the same score, since the bonus is the same for all buyers of a
    seller; then the pairs that are each other's best are certain, and taking them until none is
    left is what deferred acceptance arrives at. Equal preferences share pro rata. Without a place
    (Context.place is None) nobody prefers anybody.

    Source: Gale and Shapley (1962), "College admissions and the stability of marriage", American
    Mathematical Monthly 69(1); divisible: Baïou and Balinski (2002), "The stable allocation (or
    ordinal transportation) problem", Mathematics of Operations Research 27(3).
    """

    Config = StableMatchingConfig
    claims: ClassVar[frozenset[Claim]] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational"}
    )
    time_priority = False

    def __init__(self, config: StableMatchingConfig):
        self.k = config.k
        self.green_weight = config.green_weight

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match until no acceptable pair has energy left."""
        quantity_kw, limit = orders.quantity_kw, orders.limit_price
        N = quantity_kw.shape[-1]
        count = torch.stack([quantity_kw > 0, quantity_kw < 0]).sum(-1).amax(-1).tolist()
        by_quantity = quantity_kw.argsort(-1, descending=True)
        seller, buyer = by_quantity[:, : count[0]], by_quantity[:, N - count[1] :]
        supply_kw = quantity_kw.gather(-1, seller).clamp(min=0)
        demand_kw = quantity_kw.gather(-1, buyer).clamp(max=0).neg()
        ask, bid = limit.gather(-1, seller), limit.gather(-1, buyer)

        table = self.score(context.place, quantity_kw)
        score = table[seller.unsqueeze(-1), buyer.unsqueeze(-2)]
        score = torch.where(ask.unsqueeze(-1) <= bid.unsqueeze(-2), score, torch.inf)
        trade_kw, converged, rounds = match(supply_kw, demand_kw, score)

        sold_kw, bought_kw = trade_kw.sum(-1), trade_kw.sum(-2)
        tiny = torch.finfo(limit.dtype).tiny
        bid_met = (trade_kw @ bid.unsqueeze(-1)).squeeze(-1) / sold_kw.clamp(min=tiny)
        ask_met = (ask.unsqueeze(-2) @ trade_kw).squeeze(-2) / bought_kw.clamp(min=tiny)
        # A mean of prices within a limit may round beyond it.
        earned = torch.maximum(torch.lerp(ask, bid_met, self.k), ask)
        paid = torch.minimum(torch.lerp(ask_met, bid, self.k), bid)
        cleared_kw = torch.zeros_like(quantity_kw).scatter(-1, seller, sold_kw)
        cleared_kw = cleared_kw.scatter_add(-1, buyer, -bought_kw)
        price = torch.zeros_like(limit).scatter(-1, seller, earned * (sold_kw > 0))
        price = price.scatter_add(-1, buyer, paid * (bought_kw > 0))
        return Clearing(
            cleared_kw=cleared_kw,
            price=price,
            payment_eur=cleared_kw * price * context.slot_h,
            reference_price=mean_price(cleared_kw, price),
            converged=converged,
            iterations=rounds,
        )

    def score(self, place: Place | None, like: Tensor) -> Tensor:
        """Return how much a pair dislikes each other, [N, N]: seller in rows, buyer in columns."""
        N = like.shape[-1]
        if place is None:
            return like.new_zeros(N, N)
        distance = place.distance.to(like)
        far = distance.amax().clamp(min=torch.finfo(like.dtype).tiny)
        bonus = self.green_weight * place.green.to(like).unsqueeze(-1)
        return ((distance / far - bonus) / _SAME).round()


def match(supply_kw: Tensor, demand_kw: Tensor, score: Tensor) -> tuple[Tensor, Tensor, int]:
    """Match divisible supply and demand so that no pair blocks.

    Each round takes all pairs that are each other's best among those with energy left. Of pairs
    that tie, each gets the product of its two rests over the larger of its two seats' choices;
    that uses up a seat at least, so that the rounds end.

    Args:
        supply_kw: [B, S].
        demand_kw: [B, D].
        score: [B, S, D], the less the better for both, infinite where a pair must not trade.

    Returns:
        trades [B, S, D] in kW (0 in a market that did not converge), [B] whether no pair was left,
        and the rounds of the slowest market.
    """
    trade_kw = torch.zeros_like(score)
    rounding = _ROUNDINGS * torch.finfo(score.dtype).eps
    tiny = torch.finfo(score.dtype).tiny
    sold_out, served = rounding * supply_kw, rounding * demand_kw
    supply_kw, demand_kw, score = supply_kw.clone(), demand_kw.clone(), score.clone()
    converged = torch.ones(len(score), dtype=torch.bool, device=score.device)
    if score.numel() == 0:
        return trade_kw, converged, 1
    for done in range(sum(score.shape[1:]) + 1):
        gone = (supply_kw <= 0).unsqueeze(-1) | (demand_kw <= 0).unsqueeze(-2)
        score.masked_fill_(gone, torch.inf)
        best_buyer, best_seller = score.amin(-1, keepdim=True), score.amin(-2, keepdim=True)
        left = best_buyer.isfinite().any(1).squeeze(-1)
        if not left.any():
            return trade_kw, converged, max(done, 1)
        mutual = (score == best_buyer) & (score == best_seller) & score.isfinite()
        chosen = mutual.to(score.dtype)
        choice_kw = torch.maximum(
            chosen @ demand_kw.unsqueeze(-1), supply_kw.unsqueeze(-2) @ chosen
        )
        chosen *= supply_kw.unsqueeze(-1)
        chosen *= demand_kw.unsqueeze(-2)
        chosen /= choice_kw.clamp(min=tiny)
        trade_kw += chosen
        supply_kw -= chosen.sum(-1)
        demand_kw -= chosen.sum(-2)
        supply_kw *= supply_kw > sold_out
        demand_kw *= demand_kw > served
    return trade_kw * ~left.view(-1, 1, 1), ~left, done
