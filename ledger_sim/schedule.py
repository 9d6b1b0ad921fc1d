"""How much room, in gas, the market's transactions take in a block."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


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


_SCHEDULES = {"unit": UnitSchedule}


def schedule_of(name: str) -> Schedule:
    """Return the schedule called `name`: unit or evm."""
    return _SCHEDULES[name]()
