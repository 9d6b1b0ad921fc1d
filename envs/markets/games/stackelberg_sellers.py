"""Stackelberg game of many leaders: sellers post prices of their own, buyers choose among them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Count, Positive, Tolerance
from gridbazaar.envs.markets.chunks import at_once
from gridbazaar.envs.markets.games.seller_steps import Steps, by_order, seat_steps, steps_of
from gridbazaar.envs.markets.pairs import PairBook, pair_up
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import at_mean_prices

_GRID, _ZOOMS = 33, 4  # prices tried at once, and how often the best one's neighbourhood is
_DAMPING = 0.5  # part of the way to its best response that a seller goes
_LEAST = 1e-9  # EUR/kWh, a span to divide by where the grid's prices are one


class StackelbergSellersConfig(MarketConfig):
    """How the buyers respond, and when the sellers rest."""

    width: Positive = Field(
        description="how far below its limit a buyer asks for all of its order, over the "
        "span between the grid's two prices",
        json_schema_extra={"unit": "1"},
    )
    taste: Annotated[float, Field(ge=0.002)] = Field(
        description="how little buyers mind a dearer seller, over the same span; the less, "
        "the more of them run to the cheapest",
        json_schema_extra={"unit": "1"},
    )
    tolerance: Tolerance = Field(
        description="what a seller may still gain by another price, over the largest gain of "
        "a trade times its order",
    )
    max_rounds: Count = Field(description="of best responses, after which a market gives up")


@dataclass(frozen=True)
class _Game:
    """Prices per taste, energy over what is offered; S sellers and K buyers at most.

    Attributes:
        unit: [B, 1] EUR/kWh, the taste.
        share: [B, S] of all that is offered.
        cost, price: [B, S] the least limit and the price posted.
        step_cost, step_share: [B, S, L] limit of each of the seller's orders and its part of all
            that is offered, the cheapest first.
        top: [B, 1] no seller asks for more.
        knots, demand: [B, 2K] prices at which the demand bends, ascending, and the demand there.
    """

    unit: Tensor
    share: Tensor
    cost: Tensor
    price: Tensor
    step_cost: Tensor
    step_share: Tensor
    top: Tensor
    knots: Tensor
    demand: Tensor

    def of(self, markets: Tensor) -> _Game:
        """Keep some markets of the batch."""
        return _Game(*[getattr(self, field.name)[markets] for field in fields(self)])

    def weight(self, price: Tensor) -> Tensor:
        """Return what prices [B, S, G] weigh in the buyers' choice, beside one of `top`."""
        return self.share.unsqueeze(-1) * torch.exp(self.top.unsqueeze(-1) - price)

    def posted(self) -> Tensor:
        """Return what the posted prices weigh, [B, S]."""
        return self.weight(self.price.unsqueeze(-1)).squeeze(-1)

    def level(self, total: Tensor) -> Tensor:
        """Return the price level at a total weight [B, X]."""
        return self.top - total.clamp(min=_tiny(total)).log()

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
        """Return what sellers earn at prices [B, S, G] of their own, the others' as posted."""
        posted = self.posted()
        others = (posted.sum(-1, keepdim=True) - posted).clamp(min=0).unsqueeze(-1)
        own = self.weight(price)
        total = (others + own).clamp(min=_tiny(own))
        asked = self.asked(self.level(total.flatten(1))).view_as(own) * own / total
        earned = torch.zeros_like(asked)
        for cost, share in zip(self.step_cost.unbind(-1), self.step_share.unbind(-1), strict=True):
            step = torch.minimum(asked, share.unsqueeze(-1))
            earned = earned + (price - cost.unsqueeze(-1)).clamp(min=0) * step
            asked = asked - step
        return earned


@MARKETS.register("stackelberg_sellers")
class StackelbergSellers(Market):
    """Every seller leads with a price of its own, the buyers follow.

    A buyer that takes x_i from seller i, X in all, enjoys
        limit X - width X^2 / (2 order) - sum price_i x_i - taste sum x_i ln(x_i / (share_i X))
    share_i being the seller's part of all that is offered: it likes to spread its purchase as the
    offers are spread, and gives that up for cheaper ones. Its best response splits X by
    share_i exp(-price_i / taste) and is as large as at the one price
        level = -taste ln sum share_i exp(-price_i / taste),
    never below the mean price that it pays, so that nobody pays beyond its limit. The split is the
    rest point of the replicator dynamics of the buyers' payoffs, the last term included.
    A seller earns (price_i - limit_i) times what is asked of it, up to its order; sellers move
    half-way to their best prices until none gains more than `tolerance`. A market in which they
    keep moving trades nothing. A seat with several asks is one seller with one price, and sells
    the cheapest first; what it would buy from itself it does not trade.

    Source: Paudel et al. (2019), "Peer-to-peer energy trading in a prosumer-based community
    microgrid: a game-theoretic model", IEEE Trans. Industrial Electronics 66(8): sellers lead, and
    buyers choose among them by an evolutionary game. Utility and choice here are ours; a choice of
    this form is the logit of Anderson, de Palma and Thisse (1992), "Discrete choice theory of
    product differentiation".
    """

    Config = StackelbergSellersConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})

    no_gradient = "best prices are searched on a grid, up to a tolerance"

    def __init__(self, config: StackelbergSellersConfig):
        self.config = config

    @torch.no_grad()
    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Play until the sellers rest, and let the buyers respond."""
        limit = orders.limit_price.double()
        limit = torch.where(
            orders.quantity_kw > 0,
            torch.maximum(limit, context.seller_floor.double()),
            torch.minimum(limit, context.buyer_ceiling.double()),
        )
        book = pair_up(replace(orders, limit_price=limit), 0.0)
        span = (context.buyer_ceiling - context.seller_floor).double().clamp(min=_LEAST)
        width = self.config.width * span
        owners, taste = orders.shared, self.config.taste * span
        steps = steps_of(book) if owners is None else seat_steps(book, owners)
        game, converged, rounds = play(begin(book, steps, width, taste), self.config)
        weight = game.posted()
        split = weight / weight.sum(-1, keepdim=True).clamp(min=_tiny(weight))
        bought = bought_kw(book, game, width)
        asked = split * bought.sum(-1, keepdim=True)
        price = game.price * game.unit
        served = torch.minimum(asked, steps.offered_kw(price)) * converged.unsqueeze(-1)
        kept = served.sum(-1, keepdim=True) / asked.sum(-1, keepdim=True).clamp(min=_tiny(asked))
        bought = bought * kept
        if owners is not None:
            served, price, bought = by_order(book, owners, served, price, bought)
        volume = served.sum(-1, keepdim=True)
        mean = (served * price).sum(-1, keepdim=True) / volume.clamp(min=_tiny(volume))
        trade = _Trade(served, price, bought, mean)
        return _bill(orders, context, book, trade, converged, rounds)


@dataclass(frozen=True)
class _Trade:
    """What sellers [B, S] sell at their posted prices, and buyers [B, K] buy at the mean [B, 1]."""

    sold_kw: Tensor
    posted: Tensor
    bought_kw: Tensor
    mean: Tensor


def _bill(
    orders: Orders,
    context: Context,
    book: PairBook,
    trade: _Trade,
    converged: Tensor,
    rounds: Tensor,
) -> Clearing:
    """Pay sellers what they posted, and let all buyers pay the mean."""
    nothing = torch.zeros_like(orders.quantity_kw, dtype=torch.float64)
    cleared = nothing.scatter_add(-1, book.sellers, trade.sold_kw)
    cleared = cleared.scatter_add(-1, book.buyers, -trade.bought_kw)
    money = nothing.scatter_add(-1, book.sellers, trade.sold_kw * trade.posted)
    money = money.scatter_add(-1, book.buyers, -trade.bought_kw * trade.mean)
    size, dtype = orders.quantity_kw.abs(), orders.quantity_kw.dtype
    cleared_kw = torch.minimum(torch.maximum(cleared.to(dtype), -size), size)
    rounds = rounds.clamp(min=1)
    return at_mean_prices(
        orders, context, cleared_kw, money.to(dtype), converged, iterations=rounds
    )


def begin(book: PairBook, steps: Steps, width: Tensor, taste: Tensor) -> _Game:
    """Set up the game, width and taste [B, 1] in EUR/kWh; every seller posts its least limit."""
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
    return _Game(
        taste, share, cost, cost, step_cost, step_share, top / taste, knots / taste, demand
    )


def bought_kw(book: PairBook, game: _Game, width: Tensor) -> Tensor:
    """Return what each buyer asks for at the posted prices, [B, K] kW."""
    level = game.level(game.posted().sum(-1, keepdim=True)) * game.unit
    return book.demand_kw * ((book.bid - level) / width).clamp(0, 1)


def play(game: _Game, config: StackelbergSellersConfig) -> tuple[_Game, Tensor, Tensor]:
    """Return the game at rest, whether each market rests [B], and its rounds [B]."""
    price = game.price
    unit = (game.top - game.cost).amax(-1, keepdim=True)
    settled = torch.zeros_like(price[:, 0], dtype=torch.bool)
    rounds = torch.zeros_like(settled, dtype=torch.int64)
    left = torch.arange(len(price), device=price.device)
    at = game
    for _ in range(config.max_rounds):
        best, gain = _best_response(at)
        rounds[left] += 1
        rests = (gain <= config.tolerance * unit[left] * at.share).all(-1)
        price = price.index_copy(0, left, at.price)
        settled[left] = rests
        go_on = (~rests).nonzero().squeeze(-1)
        if not len(go_on):
            break
        at = replace(at, price=torch.lerp(at.price, best, _DAMPING)).of(go_on)
        left = left[go_on]
    return replace(game, price=price), settled, rounds


def _best_response(game: _Game) -> tuple[Tensor, Tensor]:
    """Return each seller's best price and what it gains by it, [B, S] each."""
    step = at_once(game.share.shape[1] * _GRID)
    parts = torch.arange(len(game.share), device=game.share.device).split(step)
    found = [_search(game.of(part)) for part in parts]
    best, gain = zip(*found, strict=True)
    return torch.cat(best), torch.cat(gain)


def _search(game: _Game) -> tuple[Tensor, Tensor]:
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


def _tiny(like: Tensor) -> float:
    return torch.finfo(like.dtype).tiny
