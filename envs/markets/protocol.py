"""Market protocol and its data types: orders and context in, a clearing out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Config
from gridbazaar.envs.markets.book import rounding
from gridbazaar.envs.markets.context import Context as Context
from gridbazaar.envs.markets.context import GridContext as GridContext
from gridbazaar.envs.markets.owners import Owners

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

# auction: the contract matches a sorted book at one price; pairs: at a price for each pair of
# orders; checked: it checks a clearing that was found elsewhere; none: it settles alone.
ContractPart = Literal["auction", "pairs", "checked", "none"]

# Beyond it the order book cannot sort, EUR/kWh.
PRICE_BOUND = 1e6

_ONE, _NONE = torch.ones((), dtype=torch.int64), torch.zeros((), dtype=torch.int64)


class MarketConfig(Config):
    """Parameters of one mechanism; a mechanism with parameters of its own subclasses this."""

    name: str = Field(description="registered market")


@dataclass(frozen=True)
class Orders:
    """Book of M orders of N seats, as it stands at gate closure.

    Nobody trades with itself: a seat's bids lie below its own asks (`uncrossed` sees to that).

    Attributes:
        quantity_kw: [B, M], positive offers to sell, negative to buy, zero is no order.
        limit_price: [B, M] EUR/kWh, the least a seller takes and the most a buyer gives.
        arrival_s: [B, M] seconds after the book opened, for mechanisms with time priority;
            infinite where there is no order.
        owners: of the orders; None where order n is seat n's only one.
    """

    quantity_kw: Tensor
    limit_price: Tensor
    arrival_s: Tensor
    owners: Owners | None = None

    @property
    def shared(self) -> Owners | None:
        """Owners of the orders where seats may have several, None where order n is seat n's."""
        return None if self.owners is None or self.owners.one_each else self.owners

    @property
    def seats(self) -> int:
        """Number of seats, N."""
        return self.quantity_kw.shape[-1] if self.owners is None else self.owners.seats

    def by_seat(self, values: Tensor) -> Tensor:
        """Return the sums by seat [B, N] of what orders have, [B, M]."""
        return values if self.shared is None else self.shared.total(values)

    def seats_with(self, values: Tensor) -> Tensor:
        """Return which seats [B, N] have an order for which `values` [B, M] is not zero."""
        live = values != 0
        return live if self.shared is None else self.shared.total(live.to(values)) > 0

    def seat_of(self, order: int) -> int:
        """Return the number of an order's seat."""
        return order if self.owners is None else int(self.owners.seat[order])

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
        if self.owners is not None and len(self.owners.seat) != shape[1]:
            raise ValueError(
                f"orders: owners has {len(self.owners.seat)} orders and quantity_kw {shape[1]}, "
                "expected one owner per order of the book"
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
                market, order = bad[0].tolist()
                raise ValueError(
                    f"orders: {field} of seat {self.seat_of(order)} in market {market} is "
                    f"{values[market, order].item()}, expected {expected}"
                )
        if context is not None:
            context.check(shape[0], self.seats)
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
            market, order = bad[0].tolist()
            raise ValueError(
                f"orders: limit_price of seat {self.seat_of(order)} in market {market} is "
                f"{self.limit_price[market, order].item():g}, expected {low[market].item():g} to "
                f"{high[market].item():g} EUR/kWh, the seller's floor and the buyer's ceiling"
                + (f", {margin / 2:.3g} of their gap beyond" if margin else "")
            )


def uncrossed(orders: Orders) -> Orders:
    """Return the book in which no seat can trade with itself.

    A bid that reaches an ask of its own seat stands just below the cheapest of them, further than
    rounding: who has energy to sell at a price needs none from neighbours at that price. This is
    the repricing by which exchanges prevent self-trade. A seat that wants to cover its bid from its
    own ask does so before it sends orders: that is own use, and no trade.
    """
    owners = orders.shared
    if owners is None:
        return orders
    quantity, limit = orders.quantity_kw, orders.limit_price
    largest = limit.abs().amax(-1, keepdim=True)
    step = 2 * rounding(largest.where(largest > 0, 1.0)).detach()
    asks = owners.by_seat(limit.where(quantity > 0, torch.inf), torch.inf)
    cheapest = owners.of_seat(asks.amin(-2))
    below = torch.minimum(limit, cheapest - step)
    return replace(orders, limit_price=torch.where(quantity < 0, below, limit))


@dataclass(frozen=True)
class Clearing:
    """What a mechanism decided.

    Attributes:
        cleared_kw: [B, M], positive sold, negative bought; never beyond the order.
        price: [B, M] EUR/kWh that is paid for each order; 0 where it did not trade.
        payment_eur: [B, M], positive received, negative paid. What the seats pay together beyond
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
    """A mechanism: a pure function from orders to a clearing, [B, M] in and out.

    Subclass it: what a mechanism does not say of itself is as here.

    Attributes:
        Config: its parameters.
        claims: what the literature proves of it, and the tests therefore hold it to.
        single_order_claims: those of them that hold only where every seat has one order.
        time_priority: whether the order of arrival matters to it.
        messages_on_ledger: whether its messages are transactions; false where seats talk to each
            other and not to a contract.
        contract: what of the clearing a contract does where the ledger runs one (Table III of the
            trading survey); what no function of the contract matches, it checks.
        no_gradient: why what it clears and pays has no derivative with respect to the orders; empty
            where autograd finds it, up to orders that change their rank. A mechanism without one
            clears under `torch.no_grad`, so that nobody gets a wrong one.
    """

    Config: type[Any] = MarketConfig
    claims: frozenset[Claim]
    single_order_claims: frozenset[Claim] = frozenset()
    time_priority: bool = False
    messages_on_ledger: bool = True
    contract: ContractPart = "checked"
    no_gradient: str = ""

    def __init__(self, config: Any): ...

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match orders that can stand and are `uncrossed`; keep no state. See `clear_checked`."""
        ...


def clear_checked(market: Market, orders: Orders, context: Context) -> Clearing:
    """Clear orders of anybody's making, which a mechanism takes at their word, `uncrossed`.

    A simulation's orders need no check: an action cannot mean one that could not stand.

    Raises:
        ValueError: as `Orders.check`, against the context's prices only where it has a margin.
    """
    if context.price_margin is None:
        orders.check()
        context.check(len(orders.quantity_kw), orders.seats)
    else:
        orders.check(context)
    return market.clear(uncrossed(orders), context)
