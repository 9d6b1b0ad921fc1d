"""Bilateral trades between sellers and buyers: eligible pairs, their gains and their bill."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import EnergyPrice
from gridbazaar.envs.markets.book import gaining, tolerance_kw
from gridbazaar.envs.markets.protocol import Clearing, Context, MarketConfig, Orders


class PreferenceConfig(MarketConfig):
    """What a trade costs its buyer beside the price, by who the partner is."""

    distance_price: EnergyPrice = Field(
        description="cost to its buyer of energy from a partner at the largest distance "
        "between two seats",
    )
    grey_price: EnergyPrice = Field(
        description="cost to its buyer of energy that does not come from the partner's own sun",
    )


@dataclass(frozen=True)
class PairBook:
    """Asks and bids apart, S and K of them at most; what is short of that is filled with 0.

    Attributes:
        sellers, buyers: [B, S] and [B, K] the orders' numbers.
        supply_kw, demand_kw: [B, S] and [B, K] >= 0.
        ask, bid: [B, S] and [B, K] EUR/kWh.
        gain: [B, S, K] EUR/kWh, what the pair gains together by trading a kWh.
        open: [B, S, K] bool, whether the pair gains at all.
    """

    sellers: Tensor
    buyers: Tensor
    supply_kw: Tensor
    demand_kw: Tensor
    ask: Tensor
    bid: Tensor
    gain: Tensor
    open: Tensor

    @property
    def traded_kw(self) -> Tensor:
        """The most that can be traded, [B, 1] kW; 1 where nothing can, so as to divide by it."""
        least = torch.minimum(self.supply_kw.sum(-1), self.demand_kw.sum(-1))
        return torch.where(least > 0, least, 1.0).unsqueeze(-1)

    @property
    def largest_gain(self) -> Tensor:
        """The largest gain of a pair, [B, 1] EUR/kWh; 1 where no pair gains."""
        largest = (self.gain * self.open).flatten(1).amax(-1, keepdim=True)
        return torch.where(largest > 0, largest, 1.0)

    def welfare(self, pair_kw: Tensor) -> Tensor:
        """Return the gain of all trades together, [B] EUR per hour, for pair_kw [B, S, K]."""
        return (pair_kw * self.gain * self.open).sum((-2, -1))

    def bound(self, pair_price: Tensor) -> Tensor:
        """Return a welfare that no trades can exceed, [B] EUR per hour, by linear duality.

        Every seat gets the best it could make of its order if any partner dealt at the price of
        the pair [B, S, K]: the optimum's multipliers make it tight, any others make it larger.
        """
        margin = (pair_price - self.ask.unsqueeze(-1)).where(self.open, 0.0)
        sellers = margin.amax(-1).clamp(min=0) * self.supply_kw
        left = (self.gain - margin).where(self.open, 0.0)
        buyers = left.amax(-2).clamp(min=0) * self.demand_kw
        return sellers.sum(-1) + buyers.sum(-1)

    def within(self, pair_kw: Tensor) -> Tensor:
        """Scale down what exceeds a seller's supply, then what exceeds a buyer's demand."""
        tiny = torch.finfo(pair_kw.dtype).tiny
        sold = pair_kw.sum(-1).clamp(min=tiny)
        pair_kw = pair_kw * (self.supply_kw / sold).clamp(max=1).unsqueeze(-1)
        bought = pair_kw.sum(-2).clamp(min=tiny)
        return pair_kw * (self.demand_kw / bought).clamp(max=1).unsqueeze(-2)

    def of(self, markets: Tensor) -> PairBook:
        """Keep some markets of the batch."""
        return PairBook(*[getattr(self, name)[markets] for name in self.__dataclass_fields__])


def preference(context: Context, config: PreferenceConfig) -> Tensor | float:
    """Return what buying from seat n costs seat m beside the price, [n, m] EUR/kWh.

    Of a context by order, from order n to order m. Without a feeder all partners are alike.
    """
    grid = context.grid
    if grid is None:
        return 0.0
    farthest = grid.distance.max().clamp(min=torch.finfo(grid.distance.dtype).tiny)
    grey = (~grid.green).to(grid.distance).unsqueeze(-1)
    return config.distance_price * grid.distance / farthest + config.grey_price * grey


def pair_up(orders: Orders, cost: Tensor | float, losing: bool = False) -> PairBook:
    """Sort the orders into sellers' and buyers', in float64; `cost` is `preference`'s by order.

    Two orders of one seat are no pair. Pairs that gain nothing are open only where `losing`.
    """
    quantity, limit = orders.quantity_kw.double(), orders.limit_price.double()
    sells, buys = (quantity > 0, quantity < 0) if losing else gaining(quantity, limit)
    sellers, buyers = _listed(sells), _listed(buys)
    ask, bid = limit.gather(-1, sellers), limit.gather(-1, buyers)
    supply = (quantity * sells).gather(-1, sellers)
    demand = -(quantity * buys).gather(-1, buyers)
    gain = bid.unsqueeze(-2) - ask.unsqueeze(-1)
    if isinstance(cost, Tensor):
        gain = gain - cost.to(gain)[sellers.unsqueeze(-1), buyers.unsqueeze(-2)]
    is_open = (supply > 0).unsqueeze(-1) & (demand > 0).unsqueeze(-2)
    if not losing:
        is_open = is_open & (gain > 0)
    if orders.shared is not None:
        seat = orders.shared.seat
        is_open &= seat[sellers].unsqueeze(-1) != seat[buyers].unsqueeze(-2)
    return PairBook(sellers, buyers, supply, demand, ask, bid, gain, is_open)


def _listed(chosen: Tensor) -> Tensor:
    """Return the chosen orders of each market, padded with others to the longest list."""
    longest = max(int(chosen.sum(-1).max()), 1)
    return (~chosen).to(torch.int8).argsort(stable=True)[..., :longest]


def bill_pairs(
    orders: Orders,
    context: Context,
    book: PairBook,
    pair_kw: Tensor,
    pair_price: Tensor,
    converged: Tensor,
    iterations: Tensor,
    messages: Tensor,
) -> Clearing:
    """Bill every trade at its own price, kept between the two limits where there is a between.

    Args:
        orders, context: as given to the market.
        book: the orders by pair.
        pair_kw, pair_price: [B, S, K], within supply and demand but for rounding.
        converged: [B] bool; where false nothing is traded.
        iterations, messages: as in Clearing.
    """
    least_kw = tolerance_kw(orders.quantity_kw.double()).unsqueeze(-1)
    stands = book.open & converged[:, None, None] & (pair_kw > least_kw)
    pair_kw = book.within(pair_kw * stands)
    ask, bid = book.ask.unsqueeze(-1), book.bid.unsqueeze(-2)
    between = torch.minimum(torch.maximum(pair_price, ask), bid)
    price = torch.where(ask <= bid, between, pair_price).where(stands, 0.0)
    money = pair_kw * price
    nothing = torch.zeros_like(orders.quantity_kw, dtype=torch.float64)
    cleared = nothing.scatter_add(-1, book.sellers, pair_kw.sum(-1)).scatter_add(
        -1, book.buyers, -pair_kw.sum(-2)
    )
    paid = nothing.scatter_add(-1, book.sellers, money.sum(-1)).scatter_add(
        -1, book.buyers, -money.sum(-2)
    )
    volume = pair_kw.sum((-2, -1))
    published = money.sum((-2, -1)) / torch.where(volume > 0, volume, 1.0)
    dtype = orders.quantity_kw.dtype
    size = orders.quantity_kw.abs()
    return Clearing(
        cleared_kw=torch.minimum(torch.maximum(cleared.to(dtype), -size), size),
        price=(paid / torch.where(cleared != 0, cleared, 1.0)).to(dtype),
        payment_eur=(paid * context.slot_h).to(dtype),
        reference_price=torch.where(volume > 0, published, torch.nan).to(dtype),
        converged=converged,
        iterations=iterations,
        messages=messages,
    )
