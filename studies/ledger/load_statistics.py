"""Load statistics: receipts added up slot by slot, transaction by transaction."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gridbazaar.evaluation.comparison import gini
from gridbazaar.ledger_sim.chain.timeline import Timeline
from gridbazaar.ledger_sim.consensus.protocol import Consensus
from gridbazaar.ledger_sim.protocol import Receipts, Transactions
from gridbazaar.studies.ledger.distribution import Distribution


class LoadStatistics:
    """Latency, finality and sums of B environments.

    Receipts tell when the block after the deadline is final. How much later than the block itself
    that is, counts for all transactions that came into a block of the slot.

    Args:
        seed: int64 [B], as the ledger's.
        slot_s: between two slots.
        consensus: of the chain; None where there are no blocks.
    """

    def __init__(self, seed: Tensor, slot_s: float, consensus: Consensus[Any] | None) -> None:
        self._slot_s = slot_s
        self._settling = Timeline(consensus) if consensus else None
        if self._settling:
            self._settling.reset(seed)
        self._open: dict[int, Tensor] = {}  # when waiting transactions were sent, by slot
        self._waiting: dict[int, int] = {}
        self.latency, self.finality = Distribution(), Distribution()
        self._incomes: Tensor | float = 0.0  # [B, V] of each validator so far
        self.sent = 0
        self.fee = self.burned = self.energy_kwh = self.messages = self.backlog = 0.0

    def add(self, slot: int, transactions: Transactions, deadline_s: float, got: Receipts) -> None:
        """Add what a slot brought."""
        sent, latency_s = transactions.sent, got.latency_s
        on_chain = latency_s.isfinite()
        depth_s = self._depth_s(slot, deadline_s, got)
        self._add_times(latency_s[on_chain], depth_s.unsqueeze(1).expand_as(latency_s)[on_chain])
        if got.earlier is not None:
            self._add_earlier(slot, got, depth_s)
        waiting = int((sent & ~on_chain).sum())
        if waiting:
            self._open[slot], self._waiting[slot] = transactions.submitted_s, waiting
        self.sent += int(sent.sum())
        self.fee += float(got.fee.sum(dtype=torch.float64))
        self.burned += float(got.burned.sum())
        self.energy_kwh += float(got.energy_kwh.sum())
        self.messages += float(got.messages.sum())
        self.backlog = float(got.backlog.double().mean())
        if got.incomes is not None:
            self._incomes = self._incomes + got.incomes

    @property
    def income_gini(self) -> float:
        """Mean Gini coefficient of the accounts of a run; nan where there are none."""
        if not isinstance(self._incomes, Tensor):
            return math.nan
        return float(gini(self._incomes).mean())

    def _depth_s(self, slot: int, deadline_s: float, got: Receipts) -> Tensor:
        """Return how much later than itself the block after the deadline is final, [B] s."""
        if self._settling is None:
            return got.finality_s
        self._settling.forget(slot)
        settled_s = self._settling.settled_s(slot, deadline_s)
        return (got.finality_s + deadline_s - settled_s).clamp(min=0)

    def _add_times(self, latency_s: Tensor, depth_s: Tensor) -> None:
        self.latency.add(latency_s)
        self.finality.add(latency_s + depth_s)

    def _add_earlier(self, slot: int, got: Receipts, depth_s: Tensor) -> None:
        assert got.earlier is not None
        earlier = got.earlier
        origins, counts = earlier.slot.unique(return_counts=True)
        for origin, count in zip(origins.tolist(), counts.tolist(), strict=True):
            own = earlier.slot == origin
            environment = earlier.environment[own]
            sent_s = self._open[origin][environment, earlier.seat[own]]
            since_s = (slot - origin) * self._slot_s
            self._add_times(earlier.block_s[own] + since_s - sent_s, depth_s[environment])
            self._waiting[origin] -= count
            if not self._waiting[origin]:
                del self._waiting[origin], self._open[origin]
