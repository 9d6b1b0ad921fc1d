"""Stackelberg game: operators set the prices at which they buy and sell, the seats respond."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Count, NonNegative, bounded
from gridbazaar.envs.markets.book import Crossing, fill
from gridbazaar.envs.markets.chunks import at_once
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS

_ROUNDING = 1e-12  # relative, below which one profit is not larger than another


class StackelbergConfig(MarketConfig):
    """The leaders, and how the followers respond."""

    leaders: Count = Field(description="operators that set prices; 1 is the game of one leader")
    blocks: Annotated[
        int, bounded(1, 1000, "blocks", "each is a place in memory for every order")
    ] = Field(
        description="equal parts of an order that respond one after the other",
    )
    width: NonNegative = Field(
        description="between the responses of the first part, at the limit, and the last",
        json_schema_extra={"unit": "EUR/kWh"},
    )


@MARKETS.register("stackelberg")
class Stackelberg(Market):
    """Operators lead with a buying and a selling price, the seats follow.

    A seller offers its order where the buying price is at or above its limit, a buyer where the
    selling price is at or below its own; with `blocks` above 1 an order responds part by part, a
    step-wise quadratic cost. Between feed-in and retail net of the local charge, one leader chooses
    the prices, so that supply meets demand, that maximise
        (selling price - buying price) * volume
    M leaders compete in volume, as Cournot's firms do with the spread as inverse demand. Identical
    firms have a symmetric equilibrium, at the end of a step of the spread; of several, the
    largest is played. The more leaders, the nearer to the uniform auction.

    The leaders' profit is the operator's surplus. Followers at their limit are indifferent and
    share pro rata what is left to trade.

    Source: Maharjan et al. (2013), "Dependable demand response management in the smart grid: a
    Stackelberg game approach", IEEE Trans. Smart Grid 4(1); for M leaders, McManus (1964),
    "Equilibrium, numbers and size in Cournot oligopoly", Yorkshire Bulletin 16.
    """

    Config = StackelbergConfig
    claims: frozenset[Claim] = frozenset({"no_deficit", "individually_rational"})

    def __init__(self, config: StackelbergConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Find the leaders' equilibrium and the followers' response to it."""
        quantity, limit = self._blocks(orders, context)
        volume, spread, ask, bid = spread_steps(quantity, limit)
        chosen = equilibrium(volume, spread, self.config.leaders)
        played = volume.gather(-1, chosen) * (spread.gather(-1, chosen) > 0)
        crossing = Crossing(played, ask.gather(-1, chosen), bid.gather(-1, chosen))
        parts = fill(quantity, limit, crossing).unflatten(-1, (self.config.blocks, -1))
        size = orders.quantity_kw.abs()
        cleared_kw = torch.minimum(torch.maximum(parts.sum(-2), -size), size)
        price = torch.where(cleared_kw > 0, crossing.ask_price, crossing.bid_price)
        middle = (crossing.ask_price + crossing.bid_price) / 2
        return Clearing(
            cleared_kw=cleared_kw,
            price=torch.where(cleared_kw != 0, price, 0.0),
            payment_eur=torch.where(cleared_kw != 0, cleared_kw * price, 0.0) * context.slot_h,
            reference_price=torch.where(played > 0, middle, torch.nan).squeeze(-1),
            converged=torch.ones_like(played, dtype=torch.bool).squeeze(-1),
        )

    def _blocks(self, orders: Orders, context: Context) -> tuple[Tensor, Tensor]:
        """Cut the orders into parts [B, blocks * N] whose limits the leaders' prices must meet."""
        blocks = self.config.blocks
        part = torch.arange(blocks, device=orders.limit_price.device) / max(blocks - 1, 1)
        rise = (part.to(orders.limit_price) * self.config.width).unsqueeze(-1)
        sells = (orders.quantity_kw > 0).unsqueeze(-2)
        limit = orders.limit_price.unsqueeze(-2)
        floor, ceiling = context.seller_floor.unsqueeze(-1), context.buyer_ceiling.unsqueeze(-1)
        least = torch.maximum(limit + rise, floor)
        most = torch.minimum(limit - rise, ceiling)
        quantity = (orders.quantity_kw / blocks).unsqueeze(-2).expand(-1, blocks, -1)
        return quantity.flatten(1), torch.where(sells, least, most).flatten(1)


def spread_steps(quantity: Tensor, limit: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the volumes at which the spread steps down, with the spread and both prices there.

    All are [B, 2 N]; the spread is zero where a volume cannot be traded at a profit.
    """
    supply, ask_price = _curve(quantity.clamp(min=0), limit, 1)
    demand, bid_price = _curve((-quantity).clamp(min=0), -limit, -1)
    volume = torch.cat([supply, demand], -1)
    last = quantity.shape[-1] - 1
    ask = ask_price.gather(-1, torch.searchsorted(supply, volume).clamp(max=last))
    bid = bid_price.gather(-1, torch.searchsorted(demand, volume).clamp(max=last))
    most = torch.minimum(supply[:, -1:], demand[:, -1:])
    spread = torch.where((volume > 0) & (volume <= most), (bid - ask).clamp(min=0), 0.0)
    return volume, spread, ask, bid


def _curve(offered: Tensor, merit: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """Return the cumulated quantity in merit order and the price of each step."""
    ranked, order = merit.where(offered > 0, torch.inf).sort(-1)
    price = torch.where(ranked.isfinite(), ranked * sign, 0.0)
    return offered.gather(-1, order).cumsum(-1), price


def equilibrium(volume: Tensor, spread: Tensor, leaders: int) -> Tensor:
    """Return the index [B, 1] of the largest volume at which no leader gains by another share."""
    profit = volume * spread
    if leaders == 1:
        stable = profit >= profit.amax(-1, keepdim=True) * (1 - _ROUNDING)
    else:
        step = at_once(volume.shape[-1] ** 2)
        parts = zip(volume.split(step), spread.split(step), profit.split(step), strict=True)
        stable = torch.cat([_stable(v, s, p, leaders) for v, s, p in parts])
    return volume.where(stable & (profit > 0), -1.0).argmax(-1, keepdim=True)


def _stable(volume: Tensor, spread: Tensor, profit: Tensor, leaders: int) -> Tensor:
    """Say for each volume whether a leader that has its share of it wants no other total."""
    others = volume * ((leaders - 1) / leaders)
    elsewhere = (volume.unsqueeze(-2) - others.unsqueeze(-1)) * spread.unsqueeze(-2)
    return elsewhere.amax(-1) <= profit / leaders * (1 + _ROUNDING)
