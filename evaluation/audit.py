"""Audit of an evaluation: its days in signed, hash-linked blocks, and whether they verify."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.interval import Interval
from gridbazaar.envs.simulation import Simulation
from gridbazaar.ledger_sim.protocol import Inclusions, Receipts
from gridbazaar.ledger_sim.record.homomorphic import EncryptedSums
from gridbazaar.ledger_sim.record.privacy import committed_s
from gridbazaar.ledger_sim.record.recorder import Recorder
from gridbazaar.ledger_sim.record.registrar import SampledCredentials
from gridbazaar.ledger_sim.record.signed_chain import SignedChain
from gridbazaar.ledger_sim.record.verify import verify


@dataclass(frozen=True)
class AuditResult:
    """What was written and found.

    Attributes:
        days: that were recorded.
        blocks, transactions: in all chains.
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

    @classmethod
    def together(cls, parts: Sequence[AuditResult]) -> AuditResult:
        """Return the audits of several training seeds as one."""
        return cls(
            days=sum(part.days for part in parts),
            blocks=sum(part.blocks for part in parts),
            transactions=sum(part.transactions for part in parts),
            faults=tuple(fault for part in parts for fault in part.faults),
            record_s=sum(part.record_s for part in parts),
            verify_s=sum(part.verify_s for part in parts),
            verified_share=min(part.verified_share for part in parts),
        )


class Audit:
    """Records some of a batch's markets in one chain each, with what the ledger leaves in the open.

    A chain holds every order that came into a block, late ones as well, every payment between
    market and seats, all fees, and the volumes that are published. What the layers encrypt or sign
    blindly is executed for some intervals of the first of the markets.

    Args:
        simulation: whose intervals are recorded.
        seed: [B] of its markets; fixes the keys.
        markets: [R] of them to record.
    """

    def __init__(self, simulation: Simulation, seed: Tensor, markets: Tensor):
        self._simulation, self._markets, self._slot = simulation, markets, 0
        self._slot_s = simulation.community.slot_minutes * 60
        self._recorder = Recorder(
            seed[markets].cpu(), simulation.num_seats, self._slot_s, simulation.disclosure
        )
        hidden = simulation.disclosure
        self._sums = EncryptedSums(hidden, len(markets[:1])) if hidden.cipher_bits else None
        self._credentials = (
            SampledCredentials(hidden, simulation.num_seats) if hidden.credential_bits else None
        )
        self._faults: list[str] = []
        self._seconds = 0.0

    @property
    def chains(self) -> list[SignedChain]:
        """What anybody can read of each recorded market."""
        return self._recorder.chains

    def accounts(self, slot: int) -> NDArray[np.int64]:
        """Return each seat's account in a slot, [R, N], which no block tells."""
        return self._recorder.accounts(slot)

    def record(self, interval: Interval) -> None:
        """Append one interval's orders, settlement and published volumes; call it after each."""
        start = time.perf_counter()
        pick, recorder, slot = self._markets, self._recorder, self._slot
        bill, seat = interval.bill, self._simulation.order_slots.owners.seat
        sent_kw = interval.sent_kw[pick]
        committed = committed_s(self._simulation.ledger)
        tip = interval.decision.tip[pick]
        recorder.record_orders(
            slot,
            sent_kw != 0,
            interval.orders.limit_price[pick],
            sent_kw,
            tip,
            torch.full_like(tip, self._simulation.submission_s),
            _of(interval.receipts, pick),
            None if committed is None else committed[pick],
            seat,
        )
        market_fee_eur = -bill.fee - interval.receipts.fee
        recorder.record_settlement(slot, bill.trade[pick], market_fee_eur[pick], self._slot_s)
        if interval.published is not None:
            recorder.record_volumes(slot, interval.published.of(pick), self._slot_s)
        self._execute(interval)
        self._slot += 1
        self._seconds += time.perf_counter() - start

    def _execute(self, interval: Interval) -> None:
        """Do what cryptography an interval is sampled for; faults are told by `verify`."""
        first, slot = self._markets[:1], self._slot
        if self._sums is not None:
            # Half of a trade is each side's, as in what is published.
            volume = interval.orders.by_seat(interval.clearing.cleared_kw.abs())[first] / 2
            told = interval.published and interval.published.of(first)
            self._faults += self._sums.add(volume.cpu(), told)
        if self._credentials is not None:
            accounts = self._recorder.accounts(slot)
            keys = [
                [chain.keys[account] for account in of_market]
                for chain, of_market in zip(self.chains[:1], accounts[:1], strict=True)
            ]
            in_block = interval.receipts.latency_s[first].isfinite().cpu()
            self._faults += self._credentials.check(slot, keys, in_block)

    def verify(self, share: float) -> AuditResult:
        """Check every chain from its first block on, and that share of the signatures.

        Genesis and tip are held against those that were kept when the blocks were written.
        """
        chains, kept = self.chains, self._recorder
        start = time.perf_counter()
        faults = tuple(
            f"chain {number}, block {fault.block}, transaction {fault.transaction}: {fault.what}"
            for number, chain in enumerate(chains)
            for fault in verify(
                chain,
                genesis=kept.genesis[number],
                tip=kept.tips[number],
                share=share,
                seed=number,
            )
        )
        return AuditResult(
            days=len(chains),
            blocks=sum(len(chain.blocks) for chain in chains),
            transactions=sum(b.header.count for chain in chains for b in chain.blocks),
            faults=(*self._faults, *faults),
            record_s=self._seconds,
            verify_s=time.perf_counter() - start,
            verified_share=share,
        )


def _of(receipts: Receipts, markets: Tensor) -> Receipts:
    """Return some markets' receipts, int64 [R]."""
    of_each = {
        field.name: value[markets]
        for field in fields(receipts)
        if field.name != "earlier" and (value := getattr(receipts, field.name)) is not None
    }
    earlier = receipts.earlier
    if earlier is not None:
        place = torch.full_like(receipts.backlog, -1)
        place[markets] = torch.arange(len(markets), device=place.device)
        environment = place[earlier.environment]
        kept = environment >= 0
        earlier = Inclusions(
            environment[kept],
            earlier.seat[kept],
            earlier.slot[kept],
            earlier.block_s[kept],
            earlier.fee[kept],
        )
    return Receipts(**of_each, earlier=earlier)
