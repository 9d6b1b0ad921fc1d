"""Signed, hash-linked blocks of an evaluation's days, and whether they verify."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from envs.simulation import Interval
from ledger_sim import Receipts
from ledger_sim.recorder import Recorder
from ledger_sim.verification import verify


@dataclass(frozen=True)
class AuditResult:
    """What was written and found.

    Attributes:
        days: that were recorded.
        blocks, transactions: in all chains; orders and settlements.
        faults: what verification found, one line each; none for an honest ledger.
        record_s: seconds spent on signing and hashing.
        verify_s: seconds spent on verifying.
        verified_share: of the signatures; hashes and links are all verified.
    """

    days: int
    blocks: int
    transactions: int
    faults: tuple[str, ...]
    record_s: float
    verify_s: float
    verified_share: float


class Audit:
    """Records some of a batch's markets in one chain each.

    A chain holds the book: every order that was in a block at gate closure, and every settlement.
    Orders that came too late are not in it.

    Args:
        seed: [B] of the batch's markets; fixes the keys.
        markets: [R] of them to record.
        seats: N.
        slot_s: seconds per slot.
    """

    def __init__(self, seed: Tensor, markets: Tensor, seats: int, slot_s: float):
        self._markets, self._slot_s, self._slot = markets, slot_s, 0
        self._recorder = Recorder(seed[markets].cpu(), seats, slot_s)
        self._seconds = 0.0

    def record(self, interval: Interval) -> None:
        """Append one interval's orders and settlement."""
        start = time.perf_counter()
        receipts = self._of_book(interval.receipts)
        decision, orders = interval.decision, interval.orders
        pick = self._markets
        self._recorder.record(
            self._slot,
            receipts.included,
            decision.limit_price[pick],
            orders.quantity_kw[pick],
            decision.tip[pick],
            torch.zeros_like(receipts.latency_s),
            receipts,
        )
        self._recorder.settle(
            self._slot, interval.bill.trade[pick], self._slot_s, receipts.reverted
        )
        self._slot += 1
        self._seconds += time.perf_counter() - start

    def verify(self, share: float) -> AuditResult:
        """Check every chain from its first block on, and that share of the signatures."""
        chains = self._recorder.chains
        start = time.perf_counter()
        faults = tuple(
            f"chain {number}, block {fault.block}, transaction {fault.transaction}: {fault.what}"
            for number, chain in enumerate(chains)
            for fault in verify(chain, tip=chain.tip, share=share, seed=number)
        )
        return AuditResult(
            days=len(chains),
            blocks=sum(len(chain.blocks) for chain in chains),
            transactions=sum(b.header.count for chain in chains for b in chain.blocks),
            faults=faults,
            record_s=self._seconds,
            verify_s=time.perf_counter() - start,
            verified_share=share,
        )

    def _of_book(self, receipts: Receipts) -> Receipts:
        """Return the recorded markets' receipts of the orders in time alone."""
        fee = receipts.fee
        if receipts.earlier is not None:
            at = receipts.earlier.environment, receipts.earlier.seat
            fee = fee.index_put(at, -receipts.earlier.fee, accumulate=True)
        included = receipts.included
        kept = replace(
            receipts,
            latency_s=receipts.latency_s.masked_fill(~included, torch.inf),
            fee=fee * included,
            earlier=None,
        )
        per_market = {
            name: getattr(kept, name)[self._markets]
            for name in Receipts.__dataclass_fields__
            if name != "earlier"
        }
        return Receipts(**per_market)
