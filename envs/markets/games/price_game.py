"""Non-cooperative price game: who names prices names what pays best, given what others name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Share
from gridbazaar.envs.markets.book import cross, fill, tolerance_kw
from gridbazaar.envs.markets.owners import Owners
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS

_ROUNDING = 1e-12  # relative, below which two sums are equal


class PriceGameConfig(MarketConfig):
    """Who plays."""

    buyers: Literal["accept", "play"] = Field(
        description="accept: they take a price or leave it; play: they name prices as sellers do",
    )
    k: Share = Field(
        description="where buyers play, which of the equilibrium prices: 0 the least, 1 the most",
    )


@MARKETS.register("price_game")
class PriceGame(Market):
    """Sellers compete with asks for the price of a uniform auction; buyers take it or leave it.

    The cheapest asks are sold first, at equal asks the cheaper seller, then pro rata, to the buyers
    who value it most; all at the dearest accepted ask. A seller's limit is its cost. One seller
    sets the price that pays it best against what the others leave of the demand, the others ask
    their cost: where that is the seller whose best price is the highest, this is a pure Nash
    equilibrium. Where nobody gains by setting it, all ask their cost. Of several such sellers the
    dearest sets the price. Those of the same cost draw lots, by size, for who does: a correlated
    equilibrium, of which everyone gets the expectation, so that none of them is favoured.

    Source: von der Fehr and Harbord (1993), "Spot market competition in the UK electricity
    industry", Economic Journal 103(418), with the buyers' limits as elastic demand; lots as in
    Aumann (1974), "Subjectivity and correlation in randomized strategies", J. Mathematical
    Economics 1(1).

    A seller with several asks is one player: it sets one price for all of them, and sells its
    cheapest first.

    With `buyers: play` the buyers name prices at the same time. Where all who trade name one price
    that balances supply and demand, nobody gains by another: a seller that asks more finds no bid
    so high, a buyer that bids less no ask so low, and a better offer only worsens one's own price.
    The balancing prices are an interval, in which `k` chooses, as no theory does; these are the
    equilibria of naming prices and quantities (Dubey 1982, "Price-quantity strategic market games",
    Econometrica 50(1)). Market power of one side alone is gone.
    """

    Config = PriceGameConfig
    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "one_price"}
    )

    def __init__(self, config: PriceGameConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade at the equilibrium."""
        quantity, limit = orders.quantity_kw.double(), orders.limit_price.double()
        if self.config.buyers == "play":
            cleared, price = balanced(quantity, limit, self.config.k)
            return _at_price(orders, context, cleared, price)
        found = (
            equilibrium(quantity, limit)
            if orders.shared is None
            else equilibrium_of_seats(quantity, limit, orders.shared)
        )
        sold, price = found.sold_kw, found.price
        volume = sold.sum(-1, keepdim=True)
        cleared = sold - _serve((-quantity).clamp(min=0), limit, price, volume)
        return _at_price(orders, context, cleared, price)


def _at_price(orders: Orders, context: Context, cleared: Tensor, price: Tensor) -> Clearing:
    """Let what was cleared [B, M] change hands at one price [B, 1], both in float64."""
    volume = cleared.clamp(min=0).sum(-1, keepdim=True)
    price = torch.where(volume > 0, price, 0.0)
    dtype = orders.quantity_kw.dtype
    return Clearing(
        cleared_kw=cleared.to(dtype),
        price=(price * (cleared != 0)).to(dtype),
        payment_eur=(cleared * price * context.slot_h).to(dtype),
        reference_price=price.where(volume > 0, torch.nan).squeeze(-1).to(dtype),
        converged=torch.ones_like(volume, dtype=torch.bool).squeeze(-1),
    )


def balanced(quantity: Tensor, limit: Tensor, k: float) -> tuple[Tensor, Tensor]:
    """Return the trade of largest gain [B, M] and the price k of the way between those it bears.

    Who trades must not lose by it, and whoever has something left must not gain at that price.
    """
    cleared = fill(quantity, limit, cross(quantity, limit))
    trades = cleared != 0
    left = (quantity - cleared).abs() > tolerance_kw(quantity)
    sells, buys = quantity > 0, quantity < 0
    low = limit.where(sells & trades | buys & left, -torch.inf).amax(-1, keepdim=True)
    high = limit.where(buys & trades | sells & left, torch.inf).amin(-1, keepdim=True)
    # Without a trade there may be no bid or no ask to bound the price.
    any_traded = trades.any(-1, keepdim=True)
    low, high = low.where(any_traded, 0.0), high.where(any_traded, 0.0)
    return cleared, torch.lerp(low, high, k)


@dataclass(frozen=True)
class Equilibrium:
    """What is sold and who may set the price.

    Attributes:
        sold_kw: [B, N] of each seat, in expectation over the lots.
        price: [B, 1] EUR/kWh, infinitely low where nothing is sold.
        setter: [B, N] bool, the sellers that draw lots; none where all ask their cost.
    """

    sold_kw: Tensor
    price: Tensor
    setter: Tensor


def equilibrium(quantity: Tensor, limit: Tensor) -> Equilibrium:
    """Find the equilibrium of orders [B, N] in float64.

    A seller's profit falls only where a buyer or another's cost drops in before it: the best price
    to set is one of the limits. What is left to it there is its supply less the excess supply.
    """
    supply, demand = quantity.clamp(min=0), (-quantity).clamp(min=0)
    at, of = limit.unsqueeze(-1), limit.unsqueeze(-2)
    cheaper = ((of < at) * supply.unsqueeze(-2)).sum(-1)
    wanted = ((of >= at) * demand.unsqueeze(-2)).sum(-1)
    excess = cheaper - wanted
    # Where all ask their cost, the dearest accepted one is the price.
    accepted = (supply > 0) & (excess < -_ROUNDING * cheaper)
    competitive = limit.where(accepted, -torch.inf).amax(-1, keepdim=True)

    taking = supply * torch.where(limit < competitive, competitive - limit, 0.0)
    left = supply.unsqueeze(-1) - excess.clamp(min=0).unsqueeze(-2)
    left = left.where(left > _ROUNDING * cheaper.unsqueeze(-2), 0.0)
    profit = (of - at).clamp(min=0) * left
    most = profit.amax(-1, keepdim=True)
    best = of.expand_as(profit).where(profit >= most * (1 - _ROUNDING), torch.inf).amin(-1)
    gains = most.squeeze(-1) > taking * (1 + _ROUNDING)
    price = torch.maximum(best.where(gains, -torch.inf).amax(-1, keepdim=True), competitive)

    setter = gains & (best == price)
    setter &= limit == limit.where(setter, -torch.inf).amax(-1, keepdim=True)
    below, level = supply * (limit < price), supply * (limit == price)
    excess = below.sum(-1, keepdim=True) - (demand * (limit >= price)).sum(-1, keepdim=True)
    sold = below - _part(supply * setter, excess) + _part(level, -excess)
    return Equilibrium(sold, price, setter)


def equilibrium_of_seats(quantity: Tensor, limit: Tensor, owners: Owners) -> Equilibrium:
    """Find the equilibrium of sellers with several asks each, orders [B, M] in float64.

    As `equilibrium`: the best price to set is one of the limits, and what a seller keeps back there
    is the dearest of its supply.
    """
    supply, demand = quantity.clamp(min=0), (-quantity).clamp(min=0)
    at, of = limit.unsqueeze(-2), limit.unsqueeze(-1)  # [B, 1, M] of orders, [B, P, 1] prices
    below = (at < of) * supply.unsqueeze(-2)
    cheaper = below.sum(-1)
    excess = cheaper - ((at >= of) * demand.unsqueeze(-2)).sum(-1)
    accepted = (supply > 0) & (excess < -_ROUNDING * cheaper)
    competitive = limit.where(accepted, -torch.inf).amax(-1, keepdim=True)
    margin = torch.where(limit < competitive, competitive - limit, 0.0)
    taking = owners.total(supply * margin)

    of_seat = owners.total(below)  # [B, P, N]
    left = of_seat - excess.clamp(min=0).unsqueeze(-1)
    left = left.where(left > _ROUNDING * cheaper.unsqueeze(-1), 0.0)
    # What is cheaper of a seller's own is the same at every price above.
    before, level = (kw.unsqueeze(-2) for kw in owners.line(supply, limit))
    sold = below * ((owners.of_seat(left) - before) / level).clamp(0, 1)
    profit = owners.total((of - at).clamp(min=0) * sold)
    most = profit.amax(-2)
    near = profit >= (most * (1 - _ROUNDING)).unsqueeze(-2)
    best = of.expand_as(profit).where(near, torch.inf).amin(-2)
    gains = most > taking * (1 + _ROUNDING)
    price = torch.maximum(best.where(gains, -torch.inf).amax(-1, keepdim=True), competitive)

    cheap = supply * (limit < price)
    dearest = owners.by_seat(limit.where(cheap > 0, -torch.inf), -torch.inf).amax(-2)
    setter = gains & (best == price)
    setter &= dearest == dearest.where(setter, -torch.inf).amax(-1, keepdim=True)
    short = cheap.sum(-1, keepdim=True) - (demand * (limit >= price)).sum(-1, keepdim=True)
    # Each keeps back the excess where the lot, by size, makes it the one that sets the price.
    size = owners.total(cheap) * setter
    chance = size / size.sum(-1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
    kept = owners.in_line(cheap, -limit, short.clamp(min=0).expand_as(size))
    sold = cheap - kept * owners.of_seat(chance) + _part(supply * (limit == price), -short)
    return Equilibrium(sold, price, owners.of_seat(setter) & (supply > 0))


def _part(offered: Tensor, total: Tensor) -> Tensor:
    """Take a total [B, 1] from what is offered [B, N], pro rata, as far as it goes."""
    most = offered.sum(-1, keepdim=True).clamp(min=torch.finfo(offered.dtype).tiny)
    return offered * (total / most).clamp(0, 1)


def _serve(demand: Tensor, limit: Tensor, price: Tensor, volume: Tensor) -> Tensor:
    """Serve the buyers that accept the price by their limits, equal ones pro rata, [B, N] kW."""
    willing = demand * (limit >= price)
    own, of = limit.unsqueeze(-1), limit.unsqueeze(-2)
    above = ((of > own) * willing.unsqueeze(-2)).sum(-1)
    beside = ((of == own) * willing.unsqueeze(-2)).sum(-1)
    beside = beside.clamp(min=torch.finfo(limit.dtype).tiny)
    return willing * ((volume - above) / beside).clamp(0, 1)
