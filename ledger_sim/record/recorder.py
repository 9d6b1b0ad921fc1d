"""Recorder of a batched ledger's decisions: a chain of signed blocks per environment."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.layers.period import slots_left
from gridbazaar.ledger_sim.protocol import Receipts
from gridbazaar.ledger_sim.record.privacy import OPEN, Disclosure, Published, names_of, salt
from gridbazaar.ledger_sim.record.signed_chain import (
    COMMIT,
    FEE,
    METER,
    ORDER,
    PAYMENT,
    RECORD,
    REVEAL,
    VOLUME,
    SignedChain,
    private_key,
)

MICRO, MILLI = 1_000_000, 1_000
_DAY_S = 86400
# Nonces of a kind of transaction begin here, so that no two of a sender's are alike.
_COMMITS, _VOLUMES, _FEES, _READINGS = 1 << 40, 1 << 41, 1 << 42, 1 << 43
_READING_SALTS = 1 << 20  # beyond any slot's orders


def fixed_point(name: str, value: Tensor, scale: int) -> np.ndarray:
    """Return round(value x scale) as int64, same shape.

    Raises:
        LedgerError: for NaN, infinity, or more than 2**53 steps of 1/scale.
    """
    scaled = (value.detach().cpu().double() * scale).round()
    if not bool((scaled.abs() <= 2.0**53).all()):
        raise LedgerError(f"{name} holds a value that is not finite or beyond {2.0**53 / scale:g}")
    return scaled.long().numpy()


def _chosen(
    records: np.ndarray, chosen: Tensor, time_s: Tensor
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Return the environments [M], times [M] and records [M] of those chosen, bool [B, N]."""
    return chosen.nonzero()[:, 0], time_s.cpu()[chosen], records[chosen.numpy()]


def _seats_of(chosen: Tensor, seat: Tensor) -> Tensor:
    """Return environment and seat, [S, 2], of those with an order among the chosen [B, M]."""
    environment, order = chosen.nonzero().unbind(-1)
    return torch.stack([environment, seat[order]], -1).unique(dim=0)


def _first_of_each(sent: Tensor, seat: Tensor, seats: int) -> np.ndarray:
    """Return which order sent [B, M] is its seat's first, bool [B, M]."""
    last = seat.numel()
    number = torch.where(sent, torch.arange(last), last)
    first = torch.full((len(sent), seats), last).scatter_reduce(
        1, seat.expand_as(number), number, "amin"
    )
    return (sent & (number == first[:, seat])).numpy()


class Recorder:
    """Keeps the chains of B environments with N seats: orders as they are included, settlements.

    All orders of a seat in a slot are one transaction of the ledger: they stand in one block, and
    the first of them bears tip and fee. Their `balances` are all payments and fees so far. The last
    account but one is the market, which signs settlements; the last is the validators'. A block
    without transactions is left out.

    An order or payment costs about 40 µs in all (one core), most of it the signature: 1.6 ms per
    environment and slot of 41 orders, a hundred times a whole step of a batched environment, so
    that training does without a recorder.

    Attributes:
        chains: one `SignedChain` per environment.
        genesis: 32 bytes of each, its `id` as the chain was started.
        tips: 32 bytes of each, the hash of the last block as it was written. Like `genesis` kept
            apart from the chains, so that `verify` can hold these against them.
    """

    def __init__(
        self,
        seed: Tensor,
        seats: int,
        slot_s: float,
        disclosure: Disclosure = OPEN,
        work_bits: int = 0,
    ) -> None:
        """Start empty chains; `seed` int64 [B] also fixes all keys.

        Every block is mined with so many bits of work, 2**work_bits hashes on average.
        """
        self._seats, self._slot_s, self._disclosure = seats, slot_s, disclosure
        self._seed, self._seeds = seed.cpu(), seed.tolist()
        self._slots = max(1, round(_DAY_S / slot_s))
        self._market = seats * self._slots if disclosure.pseudonyms else seats
        accounts = self._market + 2
        self.chains = [SignedChain.start(number, accounts, work_bits) for number in self._seeds]
        self.genesis = [chain.id for chain in self.chains]
        self.tips = list(self.genesis)
        self._keys = [[private_key(number, a) for a in range(accounts)] for number in self._seeds]
        self._owed = torch.zeros(len(seed), seats, dtype=torch.float64)
        self._charged = torch.zeros_like(self._owed)
        self._waiting: dict[tuple[int, int, int], np.ndarray] = {}

    def record_orders(
        self, slot: int, sent: Tensor, price: Tensor, quantity: Tensor, tip: Tensor,
        submitted_s: Tensor, receipts: Receipts, committed_s: Tensor | None = None,
        seat: Tensor | None = None,
    ) -> None:  # fmt: skip
        """Append the blocks of one slot; call it for every slot, in order.

        What a ledger charges a seat beside its order (a channel's opening, a claim) is written as
        a FEE of its own where no order of the slot came into a block, else with the order.

        Args:
            slot: number of the slot since reset.
            sent: bool [B, M].
            price: [B, M], currency per unit.
            quantity: [B, M], units; positive sells, negative buys.
            tip: [B, N], currency.
            submitted_s: [B, N], seconds since the window opened.
            receipts: what the ledger answered.
            committed_s: [B, N], as `CommitReveal` says, where orders are committed to; an order
                without a commitment by gate closure is written without content.
            seat: int64 [M] whose orders they are; None for one of each seat, in turn.

        Raises:
            LedgerError: for amounts that are not finite, receipts of unknown transactions, or
                commitments that are missing.
        """
        sent = sent.cpu()
        seat = torch.arange(self._seats) if seat is None else seat.cpu()
        orders = self._orders(slot, price, quantity, seat)
        written = []
        if self._disclosure.committed:
            if committed_s is None:
                raise LedgerError(f"slot {slot} has no commitments; give record() committed_s")
            committed_s = committed_s.cpu()[:, seat].where(sent, torch.inf)
            written.append(self._commits(orders, slot, committed_s))
        self._hide(orders, slot, sent, committed_s)
        own_fee, earlier = receipts.fee, receipts.earlier
        if earlier is not None:
            at = earlier.environment, earlier.seat
            own_fee = own_fee.index_put(at, -earlier.fee, accumulate=True)
            written.append(self._come_in(receipts))
        # A difference of sums, which rounding may put below 0.
        fee = fixed_point("fee", own_fee.clamp(min=0), MICRO)
        block_s = (submitted_s.double() + receipts.latency_s).cpu()[:, seat].where(sent, torch.inf)
        first = _first_of_each(sent, seat, self._seats)
        orders["tip"] = fixed_point("tip", tip, MICRO)[:, seat] * first
        orders["fee"] = fee[:, seat] * first
        waits = sent & ~block_s.isfinite()
        for b, sender in _seats_of(waits, seat).tolist():
            self._waiting[b, slot, sender] = orders[b, waits[b] & (seat == sender)].copy()
        written.append(_chosen(orders, block_s.isfinite(), block_s))
        written.append(self._fees(slot, fee, receipts.latency_s.isfinite().cpu()))
        environment, block_s, records = zip(*written, strict=True)
        # Rounding aside no block lies outside the slot.
        time_s = torch.cat([one.cpu().double() for one in block_s]).clamp(0, self._slot_s)
        self._append(
            torch.cat([one.cpu() for one in environment]).numpy(),
            fixed_point("time", time_s + slot * self._slot_s, 1000),
            np.concatenate(records, dtype=RECORD),
        )

    def record_volumes(self, slot: int, published: Published, block_s: float) -> None:
        """Append the volumes that everyone may know.

        Args:
            slot: number of the slot since reset.
            published: what `VolumePublisher.publish` returned.
            block_s: the block's time in seconds since the slot's window opened.
        """
        records = np.zeros(tuple(published.volume.shape), RECORD)
        records["kind"], records["slot"], records["sender"] = VOLUME, slot, self._market
        records["receiver"] = self._market
        records["nonce"] = slot * self._seats + np.arange(records.shape[1]) + _VOLUMES
        records["quantity"] = fixed_point("volume", published.volume, MILLI)
        self._write_last(slot, block_s, published.shown.cpu().numpy(), records)

    def record_readings(self, slot: int, net_kwh: Tensor, block_s: float) -> None:
        """Append every seat's meter reading, signed by its own account.

        Where orders are sealed a reading is too: its hash stands there.

        Args:
            slot: number of the slot that was metered.
            net_kwh: [B, N], positive exported.
            block_s: the block's time in seconds since the slot's window opened.

        Raises:
            LedgerError: for readings that are not finite.
        """
        records = np.zeros(tuple(net_kwh.shape), RECORD)
        records["kind"], records["slot"], records["nonce"] = METER, slot, slot + _READINGS
        records["sender"], records["receiver"] = self.accounts(slot), self._market
        records["quantity"] = fixed_point("reading", net_kwh, MILLI)
        everyone = torch.ones(records.shape, dtype=torch.bool)
        if self._disclosure.sealed:
            self._seal(records, slot, everyone, _READING_SALTS)
        self._write_last(slot, block_s, everyone.numpy(), records)

    def accounts(self, slot: int) -> np.ndarray:
        """Return each seat's account in a slot, int64 [B, N].

        It is the seat's number; with pseudonyms, each slot of the day has accounts of its own, in
        the order of `names_of`.
        """
        if not self._disclosure.pseudonyms:
            return np.tile(np.arange(self._seats), (len(self._seeds), 1))
        if slot >= self._slots:
            raise LedgerError(
                f"slot {slot}; pseudonyms are there for the {self._slots} slots of a day"
            )
        names: np.ndarray = names_of(self._seed, slot, self._seats).numpy()
        return names + slot * self._seats

    def _orders(self, slot: int, price: Tensor, quantity: Tensor, seat: Tensor) -> np.ndarray:
        """Return a slot's orders in the open, `RECORD` [B, M]."""
        records = np.zeros(tuple(price.shape), RECORD)
        place = (seat.unsqueeze(-1) == seat).tril(-1).sum(-1).numpy()
        records["kind"], records["slot"], records["place"] = ORDER, slot, place
        records["nonce"] = slot * (place.max() + 1) + place
        records["sender"] = self.accounts(slot)[:, seat.numpy()]
        records["receiver"] = self._market
        records["price"] = fixed_point("price", price, MICRO)
        records["quantity"] = fixed_point("quantity", quantity, MILLI)
        return records

    def _commits(
        self, orders: np.ndarray, slot: int, committed_s: Tensor
    ) -> tuple[Tensor, Tensor, np.ndarray]:
        """Return the commitments to orders: environment [M], time in the slot, `RECORD`."""
        commits = orders.copy()
        committed = committed_s.isfinite().cpu()
        self._seal(commits, slot, committed)
        commits["kind"], commits["nonce"] = COMMIT, commits["nonce"] + _COMMITS
        return _chosen(commits, committed, committed_s)

    def _fees(
        self, slot: int, fee: np.ndarray, in_block: Tensor
    ) -> tuple[Tensor, Tensor, np.ndarray]:
        """Return what is charged to seats without an order in a block, at the slot's end."""
        fees = np.zeros(fee.shape, RECORD)
        fees["kind"], fees["slot"], fees["nonce"] = FEE, slot, slot + _FEES
        fees["sender"], fees["receiver"], fees["fee"] = self.accounts(slot), self._market, fee
        charged = torch.from_numpy(fee != 0) & ~in_block
        return _chosen(fees, charged, torch.full(fee.shape, self._slot_s))

    def _hide(
        self, orders: np.ndarray, slot: int, sent: Tensor, committed_s: Tensor | None
    ) -> None:
        """Let a slot's orders show no more than is disclosed."""
        if self._disclosure.sealed:
            self._seal(orders, slot, sent)
        elif committed_s is not None and self._disclosure.committed:
            known = committed_s.isfinite().cpu().numpy()
            orders["kind"] = np.where(known, REVEAL, ORDER)
            for b, order in np.argwhere(known).tolist():
                orders["secret"][b, order] = np.void(salt(self._seeds[b], slot, order))
            for name in ("price", "quantity"):
                orders[name][~known] = 0

    def _seal(self, orders: np.ndarray, slot: int, chosen: Tensor, salts: int = 0) -> None:
        """Put hashes in place of prices and quantities; those of orders not chosen just go."""
        for b, order in chosen.nonzero().tolist():
            own = salt(self._seeds[b], slot, order + salts)
            digest = self.chains[b].commitment(orders[b, order], own)
            orders["secret"][b, order] = np.void(digest)
        orders["price"], orders["quantity"] = 0, 0

    def _come_in(self, receipts: Receipts) -> tuple[Tensor, Tensor, np.ndarray]:
        """Return the records of earlier slots' transactions that came into a block now."""
        earlier = receipts.earlier
        assert earlier is not None
        names = zip(
            earlier.environment.tolist(), earlier.slot.tolist(), earlier.seat.tolist(), strict=True
        )
        fees = fixed_point("fee", earlier.fee, MICRO)
        found = [np.zeros(0, RECORD)]
        for name, fee in zip(names, fees, strict=True):
            if name not in self._waiting:
                raise LedgerError(
                    "environment {}, slot {}, seat {} comes into a block but was never recorded; "
                    "record every slot since reset".format(*name)
                )
            records = self._waiting.pop(name)
            records["fee"][0] = fee
            found.append(records)
        count = torch.tensor([len(records) for records in found[1:]], dtype=torch.int64)
        environment, block_s = earlier.environment.cpu(), earlier.block_s.cpu()
        return (
            environment.repeat_interleave(count),
            block_s.repeat_interleave(count),
            np.concatenate(found, dtype=RECORD),
        )

    def record_settlement(self, slot: int, amount: Tensor, fee: Tensor, block_s: float) -> None:
        """Append a block of payments between the market and the seats.

        Where payments cover several slots, they are kept until the last of these.

        Args:
            slot: number of the slot that is settled.
            amount: [B, N], currency; positive is paid to the seat.
            fee: [B, N], currency, what each seat bears of the market's own transactions: the market
                pays it to the validators and keeps it from the amount.
            block_s: the settlement block's time in seconds since the slot's window opened.

        Raises:
            LedgerError: for amounts that are not finite.
        """
        self._charged += fee.detach().cpu().double()
        self._owed += (amount - fee).detach().cpu().double()
        if slots_left(slot, self._disclosure.slots, self._slots):
            return
        records = np.zeros(tuple(amount.shape), RECORD)
        records["kind"], records["slot"], records["sender"] = PAYMENT, slot, self._market
        records["receiver"] = self.accounts(slot)
        records["nonce"] = slot * self._seats + np.arange(self._seats)
        records["amount"] = fixed_point("amount", self._owed, MICRO)
        records["fee"] = fixed_point("fee", self._charged, MICRO)
        self._owed.zero_()
        self._charged.zero_()
        self._write_last(slot, block_s, (records["amount"] != 0) | (records["fee"] != 0), records)

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
            block = chain.append(members, signatures, int(time_ms[first]), keys[-1])
            self.tips[b] = block.hash
