"""State of a blockchain between two slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gridbazaar.ledger_sim.chain.mempool import Mempool


@dataclass(frozen=True, slots=True)
class ChainState:
    """State of a blockchain between two slots.

    Attributes:
        seed: int64 [B], the day's.
        slot: number of the slot that comes next, from 0.
        seats: accounts N; 0 before the first slot.
        mempool: what waits.
        price: currency per gas after the last slot, [B] or one for all.
        fees: the fee rule's state.
        contribution: share of demand [B] that accounts fed in lately; None where no meter counts.
    """

    seed: Tensor
    slot: int
    seats: int
    mempool: Mempool
    price: Tensor | float
    fees: Any
    contribution: Tensor | None = None
