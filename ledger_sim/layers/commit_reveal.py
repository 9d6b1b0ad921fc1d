"""Commit and reveal: orders that nobody reads before the book is closed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Positive
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.columns import of_kind, side_by_side
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import Ledger, Receipts, Transactions


class CommitRevealConfig(LayerConfig):
    """Parameters of committing and revealing."""

    reveal_s: Positive = Field(
        description="from gate closure until orders must be open in a block",
        json_schema_extra={"unit": "s"},
    )


@LAYERS.register("commit_reveal")
class CommitReveal(Layer):
    """Orders are committed to before gate closure and revealed after it, in two transactions

    At gate closure everyone who committed reveals, whatever became of the commitment, and who
    commits later does so at once; both transactions are paid, each with the order's tip. An order
    stands in the book if its commitment is in a block by gate closure and its content `reveal_s`
    later. The book is cleared then, and so is final by `reveal_s` later.

    What becomes of an order is what becomes of its reveal: latency runs to the block in which it is
    open to all; late, it is late. `Receipts.included` asks for the commitment in time as well.

    Attributes:
        committed_s: float64 [B, N], the last slot's commitments' blocks, s since its window
            opened; inf where there is none by gate closure.
    """

    Config = CommitRevealConfig

    changes = "privacy"

    def __init__(self, inner: Ledger, config: CommitRevealConfig) -> None:
        super().__init__(inner)
        self.config = config
        self.committed_s = torch.empty(0, 0, dtype=torch.float64)

    def reset(self, seed: Tensor) -> None:
        """Start a day without commitments; `seed` int64 [B]."""
        super().reset(seed)
        self.committed_s = torch.empty(len(seed), 0, dtype=torch.float64, device=seed.device)

    def _get_parts(self) -> Any:
        return super()._get_parts(), self.committed_s

    def _set_parts(self, parts: Any) -> None:
        beneath, self.committed_s = parts
        super()._set_parts(beneath)

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        opened_s = deadline_s + self.config.reveal_s
        if opened_s > self.slot_s:
            raise LedgerError(
                f"deadline_s {deadline_s:g} + ledger.layers.commit_reveal.reveal_s "
                f"{self.config.reveal_s:g} = {opened_s:g}; orders must be open by the slot's end, "
                f"{self.slot_s:g}: close the gate earlier or reveal faster"
            )
        submitted_s = transactions.submitted_s
        revealed_s = submitted_s.clamp(min=deadline_s)
        commits = replace(transactions, gas=self._takes(transactions, gas.commit_gas()))
        reveals = replace(
            transactions,
            submitted_s=revealed_s,
            gas=self._takes(transactions, float(gas.reveal_gas())),
        )
        both = side_by_side((commits, reveals), self.schedule.order)
        got = self.inner.step(both, opened_s)
        commit, reveal = of_kind(got, 0, self._seats), of_kind(got, 1, self._seats)
        committed_s = submitted_s.double() + commit.latency_s.double()
        late = committed_s > deadline_s
        self.committed_s = committed_s.masked_fill(late, torch.inf)
        return replace(
            reveal,
            included=reveal.included & ~late,
            latency_s=reveal.latency_s + (revealed_s - submitted_s),
            finality_s=got.finality_s + self.config.reveal_s,
            base_fee=got.base_fee * self._base_share(),
        )

    def _takes(self, transactions: Transactions, measured: float) -> Tensor | None:
        """Return a transaction's gas; where something was taken for the order, it adds to it."""
        if not self.evm:
            return transactions.gas
        extra = self.order_gas(transactions) - self.schedule.order
        return extra + measured

    def _base_share(self) -> float:
        """Return what both transactions take, in orders."""
        both = gas.commit_gas() + float(gas.reveal_gas())
        return self.gas(both / self.schedule.order, 2.0)
