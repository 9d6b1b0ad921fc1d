"""Room in a block, in gas, that each kind of the market's transactions takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.protocol import Contract


class Schedule(Protocol):
    """Gas of each kind of transaction."""

    order: float  # a signed order
    message: float  # one message of an iterative mechanism

    def clearing(self, orders: Tensor, traders: Tensor, contract: Contract) -> Tensor:
        """Return the gas of what the contract does of clearing a book, [B] from [B] each."""

    def settlement(self, orders: Tensor, traders: Tensor, contract: Contract) -> Tensor:
        """Return the gas of that and of settling it, [B] from [B] each."""


class UnitSchedule:
    """Every transaction takes one unit, as on ledgers that limit their number alone."""

    order = 1.0
    message = 1.0

    def clearing(self, orders: Tensor, traders: Tensor, contract: Contract) -> Tensor:
        """Return 1: clearing is one transaction."""
        return torch.ones_like(orders)

    def settlement(self, orders: Tensor, traders: Tensor, contract: Contract) -> Tensor:
        """Return 1: clearing and settlement are one transaction."""
        return torch.ones_like(orders)


class EvmSchedule:
    """Gas as measured on an Ethereum machine, see `gridbazaar.ledger_sim.gas`."""

    def __init__(self) -> None:
        self.order = float(gas.order_gas())
        # A message is kept as one word in the contract's storage, as a commitment is.
        self.message = gas.commit_gas()

    def clearing(self, orders: Tensor, traders: Tensor, contract: Contract) -> Tensor:
        """Return the gas of matching a book whose order is given, or of checking what was matched.

        Raises:
            LedgerError: where one transaction cannot hold it.
        """
        if contract == "none":
            return torch.zeros_like(orders)
        if contract == "auction":
            cleared = gas.clear_gas(orders, traders, hinted=True)
        else:
            cleared = gas.clear_otherwise_gas(contract, orders, traders)
        return orders.new_tensor(0.0) + cleared

    def settlement(self, orders: Tensor, traders: Tensor, contract: Contract) -> Tensor:
        """Return the gas of that and of settling by meter readings, or of net payments alone.

        Raises:
            LedgerError: where one transaction cannot hold it.
        """
        if contract == "none":
            return orders.new_tensor(0.0) + gas.batch_gas(traders)
        settled = gas.settle_gas(traders, deals=contract != "auction")
        return self.clearing(orders, traders, contract) + settled


_SCHEDULES: dict[str, Callable[[], Schedule]] = {"unit": UnitSchedule, "evm": EvmSchedule}


def schedule_of(name: str) -> Schedule:
    """Return the schedule called `name`: unit or evm."""
    return _SCHEDULES[name]()
