"""Room in a block, in gas, that each kind of the market's transactions takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gridbazaar.ledger_sim import gas


class Schedule(Protocol):
    """Gas of each kind of transaction."""

    order: float  # a signed order
    message: float  # one message of an iterative mechanism

    def settlement(self, orders: Tensor, traders: Tensor) -> Tensor:
        """Return the gas of clearing a book and settling it, [B] from [B] each."""


class UnitSchedule:
    """Every transaction takes one unit, as on ledgers that limit their number alone."""

    order = 1.0
    message = 1.0

    def settlement(self, orders: Tensor, traders: Tensor) -> Tensor:
        """Return 1: clearing and settlement are one transaction."""
        return torch.ones_like(orders)


class EvmSchedule:
    """Gas as measured on an Ethereum machine, see `gridbazaar.ledger_sim.gas`."""

    def __init__(self) -> None:
        self.order = float(gas.order_gas())
        # A message is kept as one word in the contract's storage, as a commitment is.
        self.message = gas.commit_gas()

    def settlement(self, orders: Tensor, traders: Tensor) -> Tensor:
        """Return the gas of checking a sorted book, matching it and settling by meter readings.

        Raises:
            LedgerError: where one transaction cannot hold it.
        """
        return (
            orders.new_tensor(0.0)
            + gas.clear_gas(orders, traders, hinted=True)
            + (gas.settle_gas(traders))
        )


_SCHEDULES: dict[str, Callable[[], Schedule]] = {"unit": UnitSchedule, "evm": EvmSchedule}


def schedule_of(name: str) -> Schedule:
    """Return the schedule called `name`: unit or evm."""
    return _SCHEDULES[name]()
