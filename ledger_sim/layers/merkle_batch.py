"""Settlement by Merkle root: one word on the chain, and claims by those who are owed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.columns import of_kind, same_for_all, side_by_side
from gridbazaar.ledger_sim.layers.period import Period
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import (
    Ledger,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
)


class MerkleBatchConfig(LayerConfig):
    """Parameters of settlement by Merkle root."""

    slots_per_root: int = Field(
        ge=1, description="slots that a root settles", json_schema_extra={"unit": "slots"}
    )
    slots_per_claim: int = Field(
        ge=1, description="slots between two claims of a seat", json_schema_extra={"unit": "slots"}
    )


@LAYERS.register("merkle_batch")
class MerkleBatch(Layer):
    """A Merkle root settles several slots; seats claim what they are owed now and then

    The market clears off the chain. A leaf holds all that a seat was ever owed, so that one claim
    takes it whatever the number of roots; its proof has ceil(log2 N) hashes. Seats with an order in
    the book since their last claim send one, without tip, as the period's last slot opens: for what
    the roots before it hold. A root in which nobody trades is left out.
    """

    Config = MerkleBatchConfig

    def __init__(self, inner: Ledger, config: MerkleBatchConfig) -> None:
        super().__init__(inner)
        self.config = config
        self._roots = Period(config.slots_per_root, self.slots_per_day)
        self._claims = Period(config.slots_per_claim, self.slots_per_day)

    def reset(self, seed: Tensor) -> None:
        """Start a day in which nobody is owed anything; `seed` int64 [B]."""
        super().reset(seed)
        self._roots.reset()
        self._claims.reset()

    def _get_parts(self) -> Any:
        return super()._get_parts(), self._roots.active, self._claims.active

    def _set_parts(self, parts: Any) -> None:
        beneath, self._roots.active, self._claims.active = parts
        super()._set_parts(beneath)

    def claim_gas(self, seats: int) -> float:
        """Return the gas of a claim among so many seats."""
        return self.gas(float(gas.claim_gas(float(math.ceil(math.log2(max(seats, 1)))))))

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        nobody = torch.zeros_like(transactions.sent)
        claiming = self._claims.due(self.slot, nobody)
        takes = self.claim_gas(self._seats) if self._claims.left(self.slot) == 0 else None
        claims = same_for_all(transactions, claiming, 0.0, takes)
        both = side_by_side((transactions, claims), self.schedule.order)
        got = of_kind(self.inner.step(both, deadline_s), 0, self._seats)
        self._claims.note(got.included)
        return got

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write a root at its period's end; messages as ever."""
        due = self._roots.due(self.slot, market.traders > 0)
        root = due.to(market.messages) * self.gas(gas.root_gas())
        written = self.inner.submit_market(replace(market, gas=root))
        wait_s = self._roots.left(self.slot) * self.slot_s
        return replace(written, delay_s=written.delay_s + wait_s)
