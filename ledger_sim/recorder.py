"""Writes what a batched ledger decided into one chain of signed blocks per environment."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from ledger_sim.base import LedgerError, Receipts
from ledger_sim.chain import COMMIT, ORDER, PAYMENT, RECORD, REVEAL, VOLUME, Chain, private_key
from ledger_sim.layers.period import slots_left
from ledger_sim.privacy import OPEN, Disclosure, grouped_sums, names_of, noisy, salt

MICRO, MILLI = 1_000_000, 1_000
_DAY_S = 86400
# Nonces of a kind of transaction begin here, so that no two of a sender's are alike.
_COMMITS, _VOLUMES = 1 << 40, 1 << 41


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

    The last account but one is the market, which signs settlements; the last is the validators'. A
    seat's account is its number; with pseudonyms, each slot of the day has accounts of its own, in
    a drawn order. A block without transactions is left out.

    An order or payment costs about 40 µs in all (one core), most of it the signature: 1.6 ms per
    environment and slot of 41 orders, a hundred times a whole step of a batched environment, so
    that training does without a recorder.

    Attributes:
        chains: one `Chain` per environment.
    """

    def __init__(
        self, seed: Tensor, seats: int, slot_s: float, disclosure: Disclosure = OPEN
    ) -> None:
        """Start empty chains; `seed` int64 [B] also fixes all keys."""
        self._seats, self._slot_s, self._disclosure = seats, slot_s, disclosure
        self._seed, self._seeds = seed.cpu(), seed.tolist()
        self._slots = max(1, round(_DAY_S / slot_s))
        self._market = seats * self._slots if disclosure.pseudonyms else seats
        accounts = self._market + 2
        self.chains = [Chain.start(number, accounts) for number in self._seeds]
        self._keys = [[private_key(number, a) for a in range(accounts)] for number in self._seeds]
        self._owed = torch.zeros(len(seed), seats, dtype=torch.float64)
        self._volume = torch.zeros_like(self._owed)
        self._committed: dict[int, np.ndarray] = {}
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
        records = self._orders(slot, price, quantity)
        self._hide(records, slot)
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

    def commit(
        self, slot: int, committed_s: Tensor, deadline_s: float, price: Tensor, quantity: Tensor
    ) -> None:
        """Append the blocks of a slot's commitments; call it before `record`.

        A reveal whose commitment came too late is written without content.

        Args:
            slot: number of the slot since reset.
            committed_s: [B, N], commitments' blocks in s since the window opened; inf for none.
            deadline_s: gate closure.
            price, quantity: of the orders, as for `record`.
        """
        committed = (committed_s <= deadline_s).cpu()
        records = self._orders(slot, price, quantity)
        self._seal(records, slot)
        records["kind"], records["nonce"] = COMMIT, slot + _COMMITS
        self._committed[slot] = committed.numpy()
        block_s = committed_s.cpu().double()[committed] + slot * self._slot_s
        self._append(
            committed.nonzero()[:, 0].numpy(),
            fixed_point("time", block_s, 1000),
            records[self._committed[slot]],
        )

    def publish(self, slot: int, volume: Tensor, block_s: float) -> None:
        """Append the volumes that everyone may know, once in the disclosed number of slots.

        Without noise, a sum is left out where fewer seats than disclosed have a volume.

        Args:
            slot: number of the slot since reset.
            volume: [B, N], units that each seat traded in it.
            block_s: the block's time in seconds since the slot's window opened.
        """
        self._volume += volume.cpu().double()
        if slots_left(slot, self._disclosure.slots, self._slots):
            return
        hidden = self._disclosure
        exact = hidden.epsilon == np.inf
        seats = hidden.seats if hidden.seats > 1 or exact else self._seats
        sums, shown = grouped_sums(self._volume, seats)
        published = noisy(sums, hidden.sensitivity * hidden.slots, hidden.epsilon, self._seed, slot)
        if not exact:
            shown = torch.ones_like(shown)
        records = np.zeros(tuple(sums.shape), RECORD)
        records["kind"], records["slot"], records["sender"] = VOLUME, slot, self._market
        records["receiver"] = self._market
        records["nonce"] = slot * self._seats + np.arange(sums.shape[1]) + _VOLUMES
        records["quantity"] = fixed_point("volume", published, MILLI)
        self._volume.zero_()
        self._write_last(slot, block_s, shown.numpy(), records)

    def _orders(self, slot: int, price: Tensor, quantity: Tensor) -> np.ndarray:
        """Return a slot's orders in the open, `RECORD` [B, N]."""
        records = np.zeros(tuple(price.shape), RECORD)
        records["kind"], records["slot"], records["nonce"] = ORDER, slot, slot
        records["sender"], records["receiver"] = self._accounts(slot), self._market
        records["price"] = fixed_point("price", price, MICRO)
        records["quantity"] = fixed_point("quantity", quantity, MILLI)
        return records

    def _accounts(self, slot: int) -> np.ndarray:
        """Return each seat's account in a slot, [N] or [B, N]."""
        if not self._disclosure.pseudonyms:
            return np.arange(self._seats)
        if slot >= self._slots:
            raise LedgerError(
                f"slot {slot}; pseudonyms are there for the {self._slots} slots of a day"
            )
        names: np.ndarray = names_of(self._seed, slot, self._seats).numpy()
        return names + slot * self._seats

    def _hide(self, records: np.ndarray, slot: int) -> None:
        """Let a slot's orders show no more than is disclosed."""
        if self._disclosure.sealed:
            self._seal(records, slot)
        elif self._disclosure.committed:
            if slot not in self._committed:
                raise LedgerError(f"slot {slot} has no commitments; call commit() before record()")
            known = self._committed.pop(slot)
            records["kind"] = np.where(known, REVEAL, ORDER)
            for b, seat in np.argwhere(known).tolist():
                records["secret"][b, seat] = np.void(salt(self._seeds[b], slot, seat))
            for name in ("price", "quantity"):
                records[name][~known] = 0

    def _seal(self, records: np.ndarray, slot: int) -> None:
        """Put orders' hashes in place of their prices and quantities."""
        for b, chain in enumerate(self.chains):
            for seat in range(self._seats):
                own = salt(self._seeds[b], slot, seat)
                digest = chain.commitment(records[b, seat], own)
                records["secret"][b, seat] = np.void(digest)
        records["price"], records["quantity"] = 0, 0

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

        Where payments cover several slots, they are kept until the last of these.

        Args:
            slot: number of the slot that is settled.
            amount: [B, N], currency; positive is paid to the seat.
            block_s: the settlement block's time in seconds since the slot's window opened.
            reverted: bool [B]; these environments' settlements are left out.

        Raises:
            LedgerError: for amounts that are not finite.
        """
        paid = amount.detach().cpu().double()
        kept = ~reverted.cpu()
        if self._disclosure.slots > 1:
            fixed_point("amount", amount, MICRO)
            self._owed += torch.where(kept.unsqueeze(1), paid, 0.0)
            if slots_left(slot, self._disclosure.slots, self._slots):
                return
            paid, kept = self._owed.clone(), torch.ones_like(kept)
            self._owed.zero_()
        records = np.zeros(tuple(amount.shape), RECORD)
        records["kind"], records["slot"], records["sender"] = PAYMENT, slot, self._market
        records["receiver"] = self._accounts(slot)
        records["nonce"] = slot * self._seats + np.arange(self._seats)
        records["amount"] = fixed_point("amount", paid, MICRO)
        shown = kept.unsqueeze(1).expand(-1, self._seats).numpy()
        self._write_last(slot, block_s, shown, records)

    def _write_last(
        self, slot: int, block_s: float, shown: np.ndarray, records: np.ndarray
    ) -> None:
        """Append the market's records [B, M] where `shown`, no earlier than the last block."""
        wanted = round((slot * self._slot_s + block_s) * 1000)
        times = np.array([max(wanted, self._last_ms(b)) for b in range(len(self.chains))])
        environment = np.argwhere(shown)[:, 0]
        self._append(environment, times[environment], records[shown])

    def _last_ms(self, environment: int) -> int:
        blocks = self.chains[environment].blocks
        return blocks[-1].header.timestamp_ms if blocks else 0

    def _append(self, environment: np.ndarray, time_ms: np.ndarray, records: np.ndarray) -> None:
        """Sign records [M] and seal those of one environment and time into a block each."""
        if not len(records):
            return
        sender, receiver, slot = records["sender"], records["receiver"], records["slot"]
        order = np.lexsort((receiver, sender, slot, time_ms, environment))
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
