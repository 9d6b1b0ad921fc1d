"""Market protocol and its data types: orders and context in, a clearing out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from gridbazaar.config import Config
from gridbazaar.envs.grid.limits import Limits
from gridbazaar.envs.grid.power_flow import FlowSolver

# no_deficit: the operator never adds money; budget_balanced: nor does it keep any.
# individually_rational: nobody does worse by trading than at its limit price.
# truthful: no seat gains by misreporting its limit price.
# efficient: the traded surplus is the largest that the orders allow.
# one_price: all trades of a market are at the same price.
Claim = Literal[
    "budget_balanced",
    "no_deficit",
    "individually_rational",
    "truthful",
    "efficient",
    "one_price",
]

# Beyond it the order book cannot sort, EUR/kWh.
PRICE_BOUND = 1e6

_ONE, _NONE = torch.ones((), dtype=torch.int64), torch.zeros((), dtype=torch.int64)


class MarketConfig(Config):
    """Parameters of one mechanism; a mechanism with parameters of its own subclasses this."""

    name: str


@dataclass(frozen=True)
class Orders:
    """One order per seat, as it stands in the book at gate closure.

    Attributes:
        quantity_kw: [B, N], positive offers to sell, negative to buy, zero is no order.
        limit_price: [B, N] EUR/kWh, the least a seller takes and the most a buyer gives.
        arrival_s: [B, N] seconds after the book opened, for mechanisms with time priority;
            infinite where there is no order.
    """

    quantity_kw: Tensor
    limit_price: Tensor
    arrival_s: Tensor

    def check(self, context: Context | None = None) -> None:
        """Raise ValueError that names market, seat and field where an order cannot stand.

        Values must be finite numbers, of one floating type, and an order have come since the book
        opened. With a context, the limit prices must also lie between its seller's floor and its
        buyer's ceiling, widened by its `price_margin`, but for rounding. Mechanisms ask for that
        only where there is a margin: the rules of a task may let seats bid beyond the grid's
        prices.
        """
        shape, dtype = self.quantity_kw.shape, self.quantity_kw.dtype
        if len(shape) != 2:
            raise ValueError(
                f"orders: quantity_kw has shape {tuple(shape)}, expected [markets, seats]; "
                "unsqueeze(0) makes a batch of one market"
            )
        live = self.quantity_kw != 0
        for field in ("quantity_kw", "limit_price", "arrival_s"):
            values: Tensor = getattr(self, field)
            if values.shape != shape:
                raise ValueError(
                    f"orders: {field} has shape {tuple(values.shape)}, expected {tuple(shape)} "
                    "as quantity_kw has; give one value per market and seat"
                )
            if field != "arrival_s" and not (dtype.is_floating_point and values.dtype == dtype):
                raise ValueError(
                    f"orders: {field} is {values.dtype} and quantity_kw {dtype}, expected one "
                    "floating type for both, torch.float32 or torch.float64"
                )
            wrong, expected = ~torch.isfinite(values), "a finite number"
            if field == "limit_price":
                wrong |= values.abs() > PRICE_BOUND
                expected += f" of at most {PRICE_BOUND:g} EUR/kWh"
            if field == "arrival_s":
                wrong = (wrong | (values < 0)) & live
                expected += " of seconds from 0, as there is an order"
            bad = wrong.nonzero()
            if len(bad):
                market, seat = bad[0].tolist()
                raise ValueError(
                    f"orders: {field} of seat {seat} in market {market} is "
                    f"{values[market, seat].item()}, expected {expected}"
                )
        if context is not None:
            context.check(*shape)
            self._check_cap(context)

    def _check_cap(self, context: Context) -> None:
        low, high = context.seller_floor, context.buyer_ceiling
        crossed = (low > high).nonzero()
        if len(crossed):
            market = int(crossed[0, 0])
            raise ValueError(
                f"context: in market {market} seller_floor {low[market].item():g} is above "
                f"buyer_ceiling {high[market].item():g}, expected the reverse; no limit price lies "
                "between them"
            )
        # The margin is of the whole range, half of it at either end.
        margin, rounding = context.price_margin or 0.0, torch.finfo(low.dtype).eps ** 0.5
        slack = (margin / 2 + rounding) * (high - low)
        outside = (self.limit_price < low - slack) | (self.limit_price > high + slack)
        bad = (outside & (self.quantity_kw != 0)).nonzero()
        if len(bad):
            market, seat = bad[0].tolist()
            raise ValueError(
                f"orders: limit_price of seat {seat} in market {market} is "
                f"{self.limit_price[market, seat].item():g}, expected {low[market].item():g} to "
                f"{high[market].item():g} EUR/kWh, the seller's floor and the buyer's ceiling"
                + (f", {margin / 2:.3g} of their gap beyond" if margin else "")
            )


@dataclass(frozen=True)
class GridContext:
    """Where the seats sit and what the feeder bears, the same for every market of the batch.

    Attributes:
        distance: [N, N] electrical distance between the seats' buses, per unit impedance.
        green: [N] bool, whether a seat's energy comes from its own sun.
        solver: power flow over the injection buses.
        limits: of voltage and loading.
        to_bus: [N, M], 1 where a seat injects at a bus.
        background_kw, reactive_kvar: [B, M] injections beside the seats', as forecast.
    """

    distance: Tensor
    green: Tensor
    solver: FlowSolver
    limits: Limits
    to_bus: Tensor
    background_kw: Tensor
    reactive_kvar: Tensor

    def check(self, seats: int) -> None:
        """Raise ValueError unless there is a distance, one number, between every two seats."""
        if self.distance.shape != (seats, seats):
            raise ValueError(
                f"grid.distance has shape {tuple(self.distance.shape)}, expected "
                f"{(seats, seats)}: one row and column per seat of the orders"
            )
        if self.green.shape != (seats,):
            raise ValueError(
                f"grid.green has shape {tuple(self.green.shape)}, expected {(seats,)}: one value "
                "per seat of the orders"
            )
        bad = (~self.distance.isfinite()).nonzero()
        if len(bad):
            one, other = bad[0].tolist()
            raise ValueError(
                f"grid.distance of seats {one} and {other} is {self.distance[one, other].item()}, "
                "expected a finite number"
            )


@dataclass(frozen=True)
class Context:
    """What a mechanism may know beside the book.

    Attributes:
        buyer_ceiling: [B, 1] EUR/kWh, the price at which a local kWh costs as much as the grid's.
        seller_floor: [B, 1] EUR/kWh, what the grid pays for a kWh.
        slot_h: length of the interval in hours.
        history: [B, K] EUR/kWh, the last published prices, newest first, NaN before the first.
        grid: the feeder and where the seats sit; None where a market is used by itself.
        price_margin: share of the gap between the two prices by which the range of limit prices may
            be wider than that gap, beyond which markets refuse an order; None accepts any price.
            A simulation needs none: its actions cannot mean a price outside the range.
    """

    buyer_ceiling: Tensor
    seller_floor: Tensor
    slot_h: float
    history: Tensor | None = None
    grid: GridContext | None = None
    price_margin: float | None = None

    def check(self, markets: int, seats: int) -> None:
        """Raise ValueError unless every market has both prices and every seat a place."""
        for field in ("buyer_ceiling", "seller_floor"):
            values: Tensor = getattr(self, field)
            if values.shape != (markets, 1):
                raise ValueError(
                    f"context: {field} has shape {tuple(values.shape)}, expected {(markets, 1)}: "
                    "one price per market of the orders"
                )
            bad = (~values.isfinite()).nonzero()
            if len(bad):
                market = int(bad[0, 0])
                raise ValueError(
                    f"context: {field} of market {market} is {values[market].item()}, expected a "
                    "finite number"
                )
        if self.grid is not None:
            self.grid.check(seats)


@dataclass(frozen=True)
class Clearing:
    """What a mechanism decided.

    Attributes:
        cleared_kw: [B, N], positive sold, negative bought; never beyond the order.
        price: [B, N] EUR/kWh that each seat pays or is paid; 0 where it did not trade.
        payment_eur: [B, N], positive received, negative paid. What the seats pay together beyond
            what they receive is the market operator's surplus.
        reference_price: [B] EUR/kWh, the price the market publishes; NaN where nothing traded.
        converged: [B] bool, false where an iterative mechanism gave up and cleared nothing.
        iterations: [B] rounds that each market took, at least 1; a mechanism may give one number
            for all.
        messages: [B] transactions that each market needs beyond the orders themselves; likewise.
    """

    cleared_kw: Tensor
    price: Tensor
    payment_eur: Tensor
    reference_price: Tensor
    converged: Tensor
    iterations: Tensor = _ONE
    messages: Tensor = _NONE

    def __post_init__(self) -> None:
        for name in ("iterations", "messages"):
            count: Tensor = getattr(self, name)
            if count.dim() == 0:
                of_each = count.to(self.converged.device).expand(len(self.converged))
                object.__setattr__(self, name, of_each)

    @property
    def volume_kw(self) -> Tensor:
        """Power traded, [B] kW."""
        return self.cleared_kw.clamp(min=0).sum(-1)

    @property
    def operator_surplus_eur(self) -> Tensor:
        """What the market operator keeps (negative: what it adds), [B] EUR."""
        return -self.payment_eur.sum(-1)


class Market(Protocol):
    """A mechanism: a pure function from orders to a clearing, [B, N] in and out.

    Subclass it: what a mechanism does not say of itself is as here.

    Attributes:
        Config: its parameters.
        claims: what the literature proves of it, and the tests therefore hold it to.
        time_priority: whether the order of arrival matters to it.
        messages_on_ledger: whether its messages are transactions; false where seats talk to each
            other and not to a contract.
        no_gradient: why what it clears and pays has no derivative with respect to the orders; empty
            where autograd finds it, up to orders that change their rank. A mechanism without one
            clears under `torch.no_grad`, so that nobody gets a wrong one.
    """

    Config: type[Any] = MarketConfig
    claims: frozenset[Claim]
    time_priority: bool = False
    messages_on_ledger: bool = True
    no_gradient: str = ""

    def __init__(self, config: Any): ...

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match orders that can stand; keep no state. See `clear_checked`."""
        ...


def clear_checked(market: Market, orders: Orders, context: Context) -> Clearing:
    """Clear orders of anybody's making, which a mechanism takes at their word.

    A simulation's orders need no check: an action cannot mean one that could not stand.

    Raises:
        ValueError: as `Orders.check`, against the context's prices only where it has a margin.
    """
    if context.price_margin is None:
        orders.check()
        context.check(*orders.quantity_kw.shape)
    else:
        orders.check(context)
    return market.clear(orders, context)
