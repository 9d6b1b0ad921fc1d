"""Ideal ledger, as trading models assume tacitly: instant, free and without limit."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from gridbazaar.ledger_sim.protocol import (
    LedgerConfig,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
    check_deadline,
    check_seed,
    check_started,
)
from gridbazaar.ledger_sim.registry import LEDGERS


class IdealConfig(LedgerConfig):
    """The ideal ledger has no parameters of its own."""


@LEDGERS.register("ideal")
class IdealLedger:
    """Instant, free, without limit, final at once: the reference that others are held against."""

    Config: ClassVar[type[Any]] = IdealConfig

    def __init__(self, config: IdealConfig) -> None:
        self.config = config
        self._seed: Tensor | None = None

    @property
    def slot_s(self) -> float:
        """Seconds from one submission window's opening to the next."""
        return self.config.slot_s

    def lead_s(self, deadline_s: float) -> float:
        """Return 0: whatever is sent by the deadline is in time."""
        return 0.0

    def reset(self, seed: Tensor) -> None:
        """Take the number of environments from `seed` int64 [B]; nothing here is random."""
        check_seed(seed)
        self._seed = seed.clone()

    @property
    def state(self) -> Tensor:
        """The day's seeds, int64 [B], which say no more than how many environments there are."""
        return check_started(self._seed)

    @state.setter
    def state(self, state: Tensor) -> None:
        self._seed = state

    def step(self, transactions: Transactions, deadline_s: float) -> Receipts:
        """Include at once whatever is sent by the deadline; what comes later is late, and free."""
        batch = check_started(self._seed).shape[0]
        check_deadline(deadline_s, self.slot_s)
        transactions.check(batch, self.slot_s)
        sent, submitted = transactions.sent, transactions.submitted_s
        per_environment = submitted.new_zeros(batch)
        return Receipts(
            included=sent & (submitted <= deadline_s),
            latency_s=torch.zeros_like(submitted).masked_fill_(~sent, torch.inf),
            fee=torch.zeros_like(transactions.tip),
            finality_s=per_environment,
            reverted=torch.zeros_like(per_environment, dtype=torch.bool),
            base_fee=per_environment,
            backlog=torch.zeros_like(per_environment, dtype=torch.int64),
            burned=per_environment,
            validator_income=per_environment,
            messages=per_environment,
            energy_kwh=per_environment,
        )

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Take the market's own transactions at once, for nothing."""
        nothing = torch.zeros_like(market.messages)
        return MarketReceipts(nothing, nothing, nothing, market.written, nothing)
