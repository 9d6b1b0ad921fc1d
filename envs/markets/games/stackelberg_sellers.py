"""Stackelberg game of many leaders: sellers post prices of their own, buyers choose among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Count, NonNegative, Positive, Tolerance
from gridbazaar.envs.markets.games.posted_game import begin, bought_kw, play, tiny
from gridbazaar.envs.markets.games.seller_steps import by_order, seat_steps, steps_of
from gridbazaar.envs.markets.pairs import PairBook, pair_up
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import at_mean_prices

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
    stored: NonNegative = Field(
        description="what the first kWh that a seller keeps is worth to it beyond its limit, over "
        "the same span; 0 where it minds income alone",
        json_schema_extra={"unit": "1"},
    )
    tolerance: Tolerance = Field(
        description="what a seller may still gain by another price, over the largest gain of "
        "a trade times its order",
    )
    max_rounds: Count = Field(description="of best responses, after which a market gives up")


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
    A seller earns (price_i - limit_i) times what is asked of it, up to its order; with `stored`
    above 0 it weighs that income against the energy it keeps, which pleases it by
        stored order_i ln(1 + kept_i / order_i),
    the less the more it has. Sellers move
    half-way to their best prices until none gains more than `tolerance`. A market in which they
    keep moving trades nothing. A seat with several asks is one seller with one price, and sells
    the cheapest first; what it would buy from itself it does not trade.

    Source: Paudel et al. (2019), "Peer-to-peer energy trading in a prosumer-based community
    microgrid: a game-theoretic model", IEEE Trans. Industrial Electronics 66(8): sellers lead, and
    buyers choose among them by an evolutionary game. Utility and choice here are ours; a choice of
    this form is the logit of Anderson, de Palma and Thisse (1992), "Discrete choice theory of
    product differentiation". Income against stored energy, with a logarithm: Lee, Guo, Choi,
    Zukerman (2015), "Distributed energy trading in microgrids: a game-theoretic model and its
    equilibrium analysis", IEEE Trans. Industrial Electronics 62(6), where sellers lead with
    amounts and buyers bid for shares of them; here they lead with prices.
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
        start = begin(book, steps, width, taste, self.config.stored * span)
        game, converged, rounds = play(start, self.config.tolerance, self.config.max_rounds)
        weight = game.posted()
        split = weight / weight.sum(-1, keepdim=True).clamp(min=tiny(weight))
        bought = bought_kw(book, game, width)
        asked = split * bought.sum(-1, keepdim=True)
        price = game.price * game.unit
        served = torch.minimum(asked, steps.offered_kw(price)) * converged.unsqueeze(-1)
        kept = served.sum(-1, keepdim=True) / asked.sum(-1, keepdim=True).clamp(min=tiny(asked))
        bought = bought * kept
        if owners is not None:
            served, price, bought = by_order(book, owners, served, price, bought)
        volume = served.sum(-1, keepdim=True)
        mean = (served * price).sum(-1, keepdim=True) / volume.clamp(min=tiny(volume))
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
