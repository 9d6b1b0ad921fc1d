"""Writes what a batched ledger decided into one chain of signed blocks per environment."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from ledger_sim.base import LedgerError, Receipts
from ledger_sim.chain import ORDER, PAYMENT, RECORD, Chain, private_key

MICRO, MILLI = 1_000_000, 1_000


def fixed_point(name: str, value: Tensor, scale: int) -> np.ndarray:
    """Return round(value x scale) as int64, same shape.

    Raises:
        LedgerError: for NaN, infinity, or more than 2**53 steps of 1/scale.
    """
    scaled = (value.detach().cpu().double() * scale).round()
    if not bool((scaled.abs() <= 2.0**53).all()):
        raise LedgerError(f"{name} holds a value that is not finite or beyond {2.0**53 / scale:g}")
    return scaled.long().numpy()


class Recorder:
    """Keeps the chains of B environments with N seats: orders as they are included, settlements.

    Account N is the market, which signs settlements; account N + 1 the validators. A block without
    transactions is left out. An order or payment costs about 40 µs in all (one core), most of it
    the signature: 1.6 ms per environment and slot of 41 orders, a hundred times a whole step of a
    batched environment, so that training does without a recorder.

    Attributes:
        chains: one `Chain` per environment.
    """

    def __init__(self, seed: Tensor, seats: int, slot_s: float) -> None:
        """Start empty chains; `seed` int64 [B] also fixes all keys."""
        self._seats, self._slot_s = seats, slot_s
        seeds = seed.tolist()
        self.chains = [Chain.start(number, seats + 2) for number in seeds]
        self._keys = [[private_key(number, a) for a in range(seats + 2)] for number in seeds]
        self._waiting: dict[tuple[int, int, int], np.void] = {}

    def record(
        self, slot: int, sent: Tensor, price: Tensor, quantity: Tensor, tip: Tensor,
        submitted_s: Tensor, receipts: Receipts,
    ) -> None:  # fmt: skip
        """Append the blocks of one slot; call it for every slot, in order.

        Args:
            slot: number of the slot since reset.
            sent: bool [B, N].
            price: [B, N], currency per unit.
            quantity: [B, N], units; positive sells, negative buys.
            tip: [B, N], currency.
            submitted_s: [B, N], seconds since the window opened.
            receipts: what the ledger answered.

        Raises:
            LedgerError: for amounts that are not finite, or receipts of unknown transactions.
        """
        records = np.zeros(tuple(sent.shape), RECORD)
        records["kind"], records["slot"], records["nonce"] = ORDER, slot, slot
        records["sender"] = np.arange(self._seats)
        records["receiver"] = self._seats
        records["price"] = fixed_point("price", price, MICRO)
        records["quantity"] = fixed_point("quantity", quantity, MILLI)
        records["tip"] = fixed_point("tip", tip, MICRO)
        own_fee, earlier = receipts.fee, receipts.earlier
        if earlier is not None:
            at = earlier.environment, earlier.seat
            own_fee = own_fee.index_put(at, -earlier.fee, accumulate=True)
        records["fee"] = fixed_point("fee", own_fee, MICRO)
        included = receipts.latency_s.isfinite()
        for b, seat in (sent & ~included).nonzero().tolist():
            self._waiting[b, slot, seat] = records[b, seat].copy()
        block_s = (submitted_s.double() + receipts.latency_s.double())[included]
        environment = included.nonzero()[:, 0]
        chosen = records[included.cpu().numpy()]
        if earlier is not None:
            block_s = torch.cat([block_s, earlier.block_s.double()])
            environment = torch.cat([environment, earlier.environment])
            chosen = np.concatenate([chosen, self._come_in(receipts)], dtype=RECORD)
        start_s = slot * self._slot_s
        self._append(
            environment.cpu().numpy(), fixed_point("time", block_s + start_s, 1000), chosen
        )

    def _come_in(self, receipts: Receipts) -> np.ndarray:
        """Return the records of earlier slots' transactions that came into a block now."""
        earlier = receipts.earlier
        assert earlier is not None
        names = zip(
            earlier.environment.tolist(), earlier.slot.tolist(), earlier.seat.tolist(), strict=True
        )
        records = np.zeros(earlier.slot.numel(), RECORD)
        for index, name in enumerate(names):
            if name not in self._waiting:
                raise LedgerError(
                    "environment {}, slot {}, seat {} comes into a block but was never recorded; "
                    "record every slot since reset".format(*name)
                )
            records[index] = self._waiting.pop(name)
        records["fee"] = fixed_point("fee", earlier.fee, MICRO)
        return records

    def settle(self, slot: int, amount: Tensor, block_s: float, reverted: Tensor) -> None:
        """Append a block of payments between the market and the seats.

        Args:
            slot: number of the slot that is settled.
            amount: [B, N], currency; positive is paid to the seat.
            block_s: the settlement block's time in seconds since the slot's window opened.
            reverted: bool [B]; these environments' settlements are left out.

        Raises:
            LedgerError: for amounts that are not finite.
        """
        records = np.zeros(tuple(amount.shape), RECORD)
        records["kind"], records["slot"], records["sender"] = PAYMENT, slot, self._seats
        records["receiver"] = np.arange(self._seats)
        records["nonce"] = slot * self._seats + np.arange(self._seats)
        records["amount"] = fixed_point("amount", amount, MICRO)
        kept = (~reverted).nonzero().squeeze(1).cpu().numpy()
        wanted = round((slot * self._slot_s + block_s) * 1000)
        times = [max(wanted, self._last_ms(b)) for b in kept]
        self._append(
            kept.repeat(self._seats), np.repeat(times, self._seats), records[kept].reshape(-1)
        )

    def _last_ms(self, environment: int) -> int:
        blocks = self.chains[environment].blocks
        return blocks[-1].header.timestamp_ms if blocks else 0

    def _append(self, environment: np.ndarray, time_ms: np.ndarray, records: np.ndarray) -> None:
        """Sign records [M] and seal those of one environment and time into a block each."""
        if not len(records):
            return
        order = np.lexsort((records["sender"], records["slot"], time_ms, environment))
        environment, time_ms, records = environment[order], time_ms[order], records[order]
        new_block = (np.diff(environment) != 0) | (np.diff(time_ms) != 0)
        edges = [0, *(np.flatnonzero(new_block) + 1).tolist(), len(records)]
        for first, end in itertools.pairwise(edges):
            b, members = int(environment[first]), records[first:end]
            chain, keys = self.chains[b], self._keys[b]
            signatures = [
                keys[sender].sign(chain.message(record.tobytes()))
                for sender, record in zip(members["sender"].tolist(), members, strict=True)
            ]
            chain.append(members, signatures, int(time_ms[first]), keys[-1])
