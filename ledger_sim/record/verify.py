"""Verification of a signed chain: what was changed, forged, replayed, cut off or refused."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.record.signed_chain import (
    COMMIT,
    KINDS,
    METER,
    ORDER,
    PAYMENT,
    RECORD,
    REVEAL,
    VOLUME,
    Block,
    SignedChain,
    signed_by,
)
from gridbazaar.ledger_sim.record.work import is_enough

_ONCE = (ORDER, COMMIT, REVEAL, METER)
_MARKETS_OWN = (PAYMENT, VOLUME)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that `verify` found: in which block, in which transaction (None: the block)."""

    block: int
    transaction: int | None
    what: str


@dataclass(frozen=True, slots=True)
class _Past:
    """What the transactions so far have used up.

    Attributes:
        nonces: by sender.
        orders: kind where it is no order, sender, slot, place.
        commitments: hashes.
    """

    nonces: set[tuple[int, int]] = field(default_factory=set)
    orders: set[tuple[int, int, int, int]] = field(default_factory=set)
    commitments: set[bytes] = field(default_factory=set)


def verify(
    chain: SignedChain,
    *,
    genesis: bytes | None = None,
    tip: bytes | None = None,
    share: float = 1.0,
    seed: int = 0,
) -> list[Fault]:
    """Check a chain from its genesis on, with nothing but its blocks.

    Hashes, links, seals, times, nonces, revealed orders and these rules are checked throughout:

    - The market alone pays and publishes volumes; seats alone order, commit, reveal, sign meter
      readings and are charged fees apart. The validators send nothing.
    - No fee is negative, and nothing but a payment moves an amount.
    - An account has one order in each place of a slot, open or revealed, and one commitment; so
      that a commitment, which binds account, slot and place, is opened once. It has one meter
      reading of a slot.

    So are the signatures of all transactions in a block whose Merkle root is wrong, to tell which
    one was changed. What an amount should be, the market knows: its signature is not questioned.

    A chain proves no more than that it agrees with itself. Only against a `genesis` and a `tip`
    that were kept elsewhere does it show that it is the chain that was written. Without them these
    go unseen: last blocks that were cut off, another genesis with keys of somebody else's, and
    whatever the validator seals anew, such as a history without some of its orders or with other
    payments by the market. With a tip alone, all of them are seen; `genesis` tells a foreign chain
    from a changed one.

    Args:
        chain: what to check.
        genesis: `SignedChain.id` as it was at the chain's start, kept elsewhere; None: unchecked.
        tip: hash of the last block (`SignedChain.tip`), kept elsewhere; None: unchecked. The
            chain's own `tip`, asked of what is to be checked, checks nothing.
        share: probability that a transaction's signature is checked, 0 to 1; each takes about
            110 µs, everything else about 8 µs per transaction.
        seed: fixes which signatures are checked.

    Returns:
        What is wrong, in order of height; empty if the chain is whole.

    Raises:
        LedgerError: for a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise LedgerError(f"share is {share}; it must lie between 0 and 1")
    faults: list[Fault] = []
    if genesis is not None and chain.id != genesis:
        faults.append(
            Fault(
                0, None,
                f"genesis is {chain.id.hex()[:16]}, not the expected {genesis.hex()[:16]}: another "
                "chain, or its seed or keys were changed",
            )
        )  # fmt: skip
    faults += _walk(chain, share, random.Random(seed))
    if tip is not None and chain.tip != tip:
        faults.append(
            Fault(
                len(chain.blocks), None,
                f"chain ends with {chain.tip.hex()[:16]}, not with the expected {tip.hex()[:16]}: "
                "blocks are missing, added or changed",
            )
        )  # fmt: skip
    return faults


def _walk(chain: SignedChain, share: float, chosen: random.Random) -> Iterator[Fault]:
    """Yield what is wrong with each block, and between it and those before."""
    past, previous, earliest_ms = _Past(), chain.id, 0
    for height, block in enumerate(chain.blocks):
        yield from _block_faults(chain, height, block, previous, earliest_ms)
        changed = block.merkle_root() != block.header.merkle_root
        if changed:
            yield Fault(height, None, "Merkle root does not match the transactions")
        whole = len(block.records) // RECORD.itemsize
        records = np.frombuffer(block.records, RECORD, count=whole)
        for index, what in (
            *_unsigned(chain, block, records, 1.0 if changed else share, chosen),
            *_against_rules(chain, records),
            *_repeated(records, past),
            *_unbound(chain, records, past),
        ):
            yield Fault(height, index, what)
        previous, earliest_ms = block.hash, block.header.timestamp_ms


def _block_faults(
    chain: SignedChain, height: int, block: Block, previous: bytes, earliest_ms: int
) -> Iterator[Fault]:
    header = block.header
    if header.chain != chain.id:
        yield Fault(height, None, "belongs to another chain, or the genesis was changed")
    if header.height != height:
        yield Fault(height, None, f"says height {header.height}: reordered, missing or replayed")
    if header.previous != previous:
        yield Fault(height, None, "does not name the preceding block's hash")
    if header.timestamp_ms < earliest_ms:
        yield Fault(height, None, f"at {header.timestamp_ms} ms precedes its predecessor")
    if header.proposer != len(chain.keys) - 1:
        yield Fault(height, None, f"proposer {header.proposer} is no validator")
    if chain.work_bits and not is_enough(block.hash, chain.work_bits):
        yield Fault(height, None, f"hash begins with less than {chain.work_bits} zero bits")
    if not signed_by(chain.keys[-1], block.sealed_by, header.to_bytes()):
        yield Fault(height, None, "seal is not the validator's signature of this header")
    if len(block.records) != header.count * RECORD.itemsize:
        yield Fault(height, None, f"does not hold the {header.count} transactions it says")


def _unsigned(
    chain: SignedChain, block: Block, records: np.ndarray, share: float, chosen: random.Random
) -> Iterator[tuple[int, str]]:
    """List the transactions whose accounts do not exist, or did not sign what stands there."""
    columns = (records[name].tolist() for name in ("sender", "receiver"))
    for index, (sender, receiver) in enumerate(zip(*columns, strict=True)):
        if max(sender, receiver) >= len(chain.keys):
            yield index, f"account {max(sender, receiver)} does not exist"
        elif (share == 1.0 or chosen.random() < share) and not signed_by(
            chain.keys[sender], block.signature(index), chain.message(block.record(index))
        ):
            yield index, f"not signed by account {sender}: changed or forged"


def _against_rules(chain: SignedChain, records: np.ndarray) -> Iterator[tuple[int, str]]:
    """List the transactions that are not allowed, whatever went before."""
    kind, sender = records["kind"], records["sender"]
    known = np.isin(kind, list(KINDS))
    may = np.where(np.isin(kind, _MARKETS_OWN), sender == chain.market, sender < chain.market)
    for broken, what in (
        (~known, "unknown kind {0[kind]}"),
        (known & ~may, "{1}: not for account {0[sender]} to send"),
        (records["fee"] < 0, "fee of {0[fee]} is negative"),
        ((kind != PAYMENT) & (records["amount"] != 0), "{1}: only a payment moves {0[amount]}"),
    ):
        for index in np.flatnonzero(broken).tolist():
            yield index, what.format(records[index], KINDS.get(int(kind[index])))


def _repeated(records: np.ndarray, past: _Past) -> Iterator[tuple[int, str]]:
    """List the transactions that come a second time, to which `past` adds these."""
    columns = (records[name].tolist() for name in ("kind", "sender", "slot", "place", "nonce"))
    for index, (kind, sender, slot, place, nonce) in enumerate(zip(*columns, strict=True)):
        order = (kind if kind in (COMMIT, METER) else ORDER, sender, slot, place)
        if (sender, nonce) in past.nonces:
            yield index, f"replayed: account {sender} used nonce {nonce} before"
        elif kind in _ONCE and order in past.orders:
            yield index, f"second {KINDS[kind]} of account {sender} in slot {slot}, place {place}"
        past.nonces.add((sender, nonce))
        if kind in _ONCE:
            past.orders.add(order)


def _unbound(chain: SignedChain, records: np.ndarray, past: _Past) -> Iterator[tuple[int, str]]:
    """List the reveals that no commitment so far binds; this block's are among them."""
    committed = records[records["kind"] == COMMIT]
    past.commitments.update(record["secret"].tobytes() for record in committed)
    for index in np.flatnonzero(records["kind"] == REVEAL).tolist():
        record = records[index]
        if chain.commitment(record, record["secret"].tobytes()) not in past.commitments:
            yield index, "opens no commitment: the order was changed after closure"
