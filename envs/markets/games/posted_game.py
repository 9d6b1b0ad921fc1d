"""Game of sellers who post prices: the buyers' response, and rounds of best responses."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from gridbazaar.envs.markets.chunks import at_once
from gridbazaar.envs.markets.games.seller_steps import Steps
from gridbazaar.envs.markets.pairs import PairBook

_GRID, _ZOOMS = 33, 4  # prices tried at once, and how often the best one's neighbourhood is
_DAMPING = 0.5  # part of the way to its best response that a seller goes


@dataclass(frozen=True)
class PostedGame:
    """Prices per taste, energy over what is offered; S sellers and K buyers at most.

    Attributes:
        unit: [B, 1] EUR/kWh, the taste.
        share: [B, S] of all that is offered.
        cost, price: [B, S] the least limit and the price posted.
        step_cost, step_share: [B, S, L] limit of each of the seller's orders and its part of all
            that is offered, the cheapest first.
        top: [B, 1] no seller asks for more.
        stored: [B, 1] worth of the first kWh that a seller keeps, beyond its limit.
        knots, demand: [B, 2K] prices at which the demand bends, ascending, and the demand there.
    """

    unit: Tensor
    share: Tensor
    cost: Tensor
    price: Tensor
    step_cost: Tensor
    step_share: Tensor
    top: Tensor
    stored: Tensor
    knots: Tensor
    demand: Tensor

    def of(self, markets: Tensor) -> PostedGame:
        """Keep some markets of the batch."""
        return PostedGame(*[getattr(self, field.name)[markets] for field in fields(self)])

    def weight(self, price: Tensor) -> Tensor:
        """Return what prices [B, S, G] weigh in the buyers' choice, beside one of `top`."""
        return self.share.unsqueeze(-1) * torch.exp(self.top.unsqueeze(-1) - price)

    def posted(self) -> Tensor:
        """Return what the posted prices weigh, [B, S]."""
        return self.weight(self.price.unsqueeze(-1)).squeeze(-1)

    def level(self, total: Tensor) -> Tensor:
        """Return the price level at a total weight [B, X]."""
        return self.top - total.clamp(min=tiny(total)).log()

    def asked(self, level: Tensor) -> Tensor:
        """Return what all buyers together ask for at a price level [B, X]."""
        last = self.knots.shape[-1] - 1
        after = torch.searchsorted(self.knots, level.contiguous()).clamp(1, last)
        (low, high), (more, less) = (
            (values.gather(-1, after - 1), values.gather(-1, after))
            for values in (self.knots, self.demand)
        )
        width = (high - low).clamp(min=torch.finfo(low.dtype).tiny)
        return torch.lerp(more, less, ((level - low) / width).clamp(0, 1))

    def profit(self, price: Tensor) -> Tensor:
        """Return what sellers earn at prices [B, S, G] of their own, the others' as posted.

        What they keep counts too, by how much it pleases them.
        """
        posted = self.posted()
        others = (posted.sum(-1, keepdim=True) - posted).clamp(min=0).unsqueeze(-1)
        own = self.weight(price)
        total = (others + own).clamp(min=tiny(own))
        asked = self.asked(self.level(total.flatten(1))).view_as(own) * own / total
        earned, sold = torch.zeros_like(asked), torch.zeros_like(asked)
        for cost, share in zip(self.step_cost.unbind(-1), self.step_share.unbind(-1), strict=True):
            step = torch.minimum(asked, share.unsqueeze(-1))
            earned = earned + (price - cost.unsqueeze(-1)).clamp(min=0) * step
            asked = asked - step
            sold = sold + step
        size = self.share.unsqueeze(-1)
        kept = (size - sold).clamp(min=0) / size.clamp(min=tiny(size))
        return earned + self.stored.unsqueeze(-1) * size * kept.log1p()


def begin(book: PairBook, steps: Steps, width: Tensor, taste: Tensor, stored: Tensor) -> PostedGame:
    """Set up the game; every seller posts its least limit.

    Width, taste and stored are [B, 1] in EUR/kWh.
    """
    offered = book.supply_kw.sum(-1, keepdim=True)
    offered = torch.where(offered > 0, offered, 1.0)
    is_buyer = book.demand_kw > 0
    bid = book.bid.where(is_buyer, 0.0)
    knots, order = torch.cat([bid - width, bid], -1).sort(-1)
    steep = (book.demand_kw / offered / width).where(is_buyer, 0.0)
    # The demand falls by `steep` between a buyer's two knots.
    slope = torch.cat([steep, -steep], -1).gather(-1, order).cumsum(-1)[:, :-1]
    lost = torch.nn.functional.pad((slope * knots.diff(dim=-1)).cumsum(-1), (1, 0))
    demand = ((book.demand_kw / offered).sum(-1, keepdim=True) - lost).clamp(min=0)
    top = bid.amax(-1, keepdim=True)
    each = top.unsqueeze(-1)
    step_cost = steps.limit.where(steps.kw > 0, each).minimum(each) / taste.unsqueeze(-1)
    cost, step_share = step_cost[..., 0], steps.kw / offered.unsqueeze(-1)
    share = steps.kw.sum(-1) / offered
    return PostedGame(
        taste,
        share,
        cost,
        cost,
        step_cost,
        step_share,
        top / taste,
        stored / taste,
        knots / taste,
        demand,
    )


def bought_kw(book: PairBook, game: PostedGame, width: Tensor) -> Tensor:
    """Return what each buyer asks for at the posted prices, [B, K] kW."""
    level = game.level(game.posted().sum(-1, keepdim=True)) * game.unit
    return book.demand_kw * ((book.bid - level) / width).clamp(0, 1)


def play(game: PostedGame, tolerance: float, max_rounds: int) -> tuple[PostedGame, Tensor, Tensor]:
    """Return the game at rest, whether each market rests [B], and its rounds [B]."""
    price = game.price
    unit = (game.top - game.cost).amax(-1, keepdim=True)
    settled = torch.zeros_like(price[:, 0], dtype=torch.bool)
    rounds = torch.zeros_like(settled, dtype=torch.int64)
    left = torch.arange(len(price), device=price.device)
    at = game
    for _ in range(max_rounds):
        best, gain = _best_response(at)
        rounds[left] += 1
        rests = (gain <= tolerance * unit[left] * at.share).all(-1)
        price = price.index_copy(0, left, at.price)
        settled[left] = rests
        go_on = (~rests).nonzero().squeeze(-1)
        if not len(go_on):
            break
        at = replace(at, price=torch.lerp(at.price, best, _DAMPING)).of(go_on)
        left = left[go_on]
    return replace(game, price=price), settled, rounds


def _best_response(game: PostedGame) -> tuple[Tensor, Tensor]:
    """Return each seller's best price and what it gains by it, [B, S] each."""
    step = at_once(game.share.shape[1] * _GRID)
    parts = torch.arange(len(game.share), device=game.share.device).split(step)
    found = [_search(game.of(part)) for part in parts]
    best, gain = zip(*found, strict=True)
    return torch.cat(best), torch.cat(gain)


def _search(game: PostedGame) -> tuple[Tensor, Tensor]:
    """Try prices between cost and top, and finer ones about the best of them."""
    low, high = game.cost, game.top.expand_as(game.cost)
    part = torch.linspace(0, 1, _GRID, dtype=low.dtype, device=low.device)
    for _ in range(_ZOOMS):
        prices = torch.lerp(low.unsqueeze(-1), high.unsqueeze(-1), part)
        profit, at = game.profit(prices).max(-1, keepdim=True)
        best = prices.gather(-1, at).squeeze(-1)
        low = prices.gather(-1, (at - 1).clamp(min=0)).squeeze(-1)
        high = prices.gather(-1, (at + 1).clamp(max=_GRID - 1)).squeeze(-1)
    now = game.profit(game.price.unsqueeze(-1)).squeeze(-1)
    return best, profit.squeeze(-1) - now


def tiny(like: Tensor) -> float:
    """Return the least number that may be divided by."""
    return torch.finfo(like.dtype).tiny
