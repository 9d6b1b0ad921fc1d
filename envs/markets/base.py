"""What a market sees and answers: Orders and Context in, a Clearing out, and the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from ledger_sim.variants import Registry

MARKETS: Registry[type[Any]] = Registry("market")


class MarketConfig(BaseModel):
    """Parameters of one mechanism; a mechanism with parameters of its own subclasses this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str


@dataclass(frozen=True)
class Orders:
    """One order per seat, as it stands in the book at gate closure.

    Attributes:
        quantity_kw: [B, N], positive offers to sell, negative to buy, zero is no order.
        limit_price: [B, N] EUR/kWh, the least a seller takes and the most a buyer gives.
        arrival_s: [B, N] seconds after the book opened, for mechanisms with time priority.
    """

    quantity_kw: Tensor
    limit_price: Tensor
    arrival_s: Tensor

    def check(self) -> None:
        """Raise ValueError that names market, seat and field where an order is not a number."""
        shape = self.quantity_kw.shape
        for field in ("quantity_kw", "limit_price", "arrival_s"):
            values: Tensor = getattr(self, field)
            if values.shape != shape:
                raise ValueError(
                    f"orders: {field} has shape {tuple(values.shape)}, expected {tuple(shape)} "
                    "as quantity_kw has; give one value per market and seat"
                )
            bad = (~torch.isfinite(values)).nonzero()
            if len(bad):
                market, seat = bad[0].tolist()
                raise ValueError(
                    f"orders: {field} of seat {seat} in market {market} is "
                    f"{values[market, seat].item()}, expected a finite number"
                )


@dataclass(frozen=True)
class Context:
    """What a mechanism may know beside the book.

    Attributes:
        buyer_ceiling: [B, 1] EUR/kWh, the price at which a local kWh costs as much as the grid's.
        seller_floor: [B, 1] EUR/kWh, what the grid pays for a kWh.
        slot_h: length of the interval in hours.
    """

    buyer_ceiling: Tensor
    seller_floor: Tensor
    slot_h: float


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
        messages: transactions per seat that the mechanism needs beyond the order itself.
    """

    cleared_kw: Tensor
    price: Tensor
    payment_eur: Tensor
    reference_price: Tensor
    converged: Tensor
    messages: int = 0

    @property
    def volume_kw(self) -> Tensor:
        """Power traded, [B] kW."""
        return self.cleared_kw.clamp(min=0).sum(-1)

    @property
    def operator_surplus_eur(self) -> Tensor:
        """What the market operator keeps (negative: what it adds), [B] EUR."""
        return -self.payment_eur.sum(-1)


class Market(Protocol):
    """A mechanism: a pure function from orders to a clearing, [B, N] in and out."""

    Config: type[MarketConfig]

    def __init__(self, config: MarketConfig): ...

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match the orders; keep no state."""
        ...
