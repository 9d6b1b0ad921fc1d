"""Signed chain: hash-linked blocks, sealed by their proposer, full of signed transactions.

Every number in a block is an integer. Signatures are ed25519 and hashes SHA-256, both from
libraries; the keys are derived from a seed and protect nothing but a simulation.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gridbazaar import files
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.record import merkle, work

ORDER, PAYMENT, COMMIT, REVEAL, VOLUME, FEE, METER = 1, 2, 3, 4, 5, 6, 7
KINDS = {
    ORDER: "order",
    PAYMENT: "payment",
    COMMIT: "commitment",
    REVEAL: "reveal",
    VOLUME: "published volume",
    FEE: "fee",
    METER: "meter reading",
}

# Big-endian and without gaps, so that an array's bytes are what is hashed and signed.
RECORD = np.dtype(
    [
        ("kind", "u1"),  # one of KINDS
        ("sender", ">u4"),  # account that signs
        ("receiver", ">u4"),  # account that a payment's amount goes to
        ("slot", ">u4"),  # slot in which it was sent
        ("place", ">u2"),  # of an order among its sender's in the slot; else 0
        ("nonce", ">u8"),  # never used twice by a sender
        ("price", ">i8"),  # millionths of the currency per unit
        ("quantity", ">i8"),  # thousandths of a unit (a reading: Wh); positive sells, negative buys
        ("tip", ">i8"),  # millionths of the currency, offered
        ("fee", ">i8"),  # millionths of the currency, charged to the sender
        ("amount", ">i8"),  # millionths of the currency; negative flows back to the sender
        ("secret", "V32"),  # a hidden order's hash; the salt in the REVEAL that opens it; else 0
    ]
)
_COMMITTED = ("sender", "slot", "place", "price", "quantity")
_HEADER = struct.Struct(">32sQ32s32sQII")
_GENESIS = struct.Struct(">8sqI")
_MAGIC, _MINED = b"GBCHAIN3", b"GBMINED3"  # of a mined chain the bits of work follow
_SIGNATURE, _KEY = 64, 32


def private_key(seed: int, account: int) -> Ed25519PrivateKey:
    """Derive an account's key from the environment's seed: the same in every run, never secret."""
    material = b"simulated account" + struct.pack(">qI", seed, account)
    return Ed25519PrivateKey.from_private_bytes(sha256(material).digest())


@dataclass(frozen=True, slots=True)
class Header:
    """What a proposer seals.

    Attributes:
        chain: 32 bytes, the hash of the genesis: no block fits another chain.
        height: number of blocks before it.
        previous: 32 bytes, the preceding block's hash; the chain's own for the first block.
        merkle_root: 32 bytes, over the signed transactions.
        timestamp_ms: milliseconds since the day's start; never falls.
        proposer: account of the validator.
        count: number of transactions.
    """

    chain: bytes
    height: int
    previous: bytes
    merkle_root: bytes
    timestamp_ms: int
    proposer: int
    count: int

    def to_bytes(self) -> bytes:
        """Return the canonical encoding, of fixed length."""
        return _HEADER.pack(
            self.chain, self.height, self.previous, self.merkle_root, self.timestamp_ms,
            self.proposer, self.count,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Block:
    """A header, its proposer's seal, and the transactions' records and signatures in turn.

    The seal is the proposer's signature of the header, and in a mined chain a nonce behind it.
    """

    header: Header
    seal: bytes
    records: bytes
    signatures: bytes

    @property
    def hash(self) -> bytes:
        """The 32 bytes that the next block names as its predecessor."""
        return hash_of(self.header, self.seal)

    @property
    def sealed_by(self) -> bytes:
        """The proposer's signature, without a nonce."""
        return self.seal[:_SIGNATURE]

    def record(self, index: int) -> bytes:
        """Return the encoded transaction `index`."""
        return self.records[index * RECORD.itemsize : (index + 1) * RECORD.itemsize]

    def signature(self, index: int) -> bytes:
        """Return the sender's signature of transaction `index`."""
        return self.signatures[index * _SIGNATURE : (index + 1) * _SIGNATURE]

    def merkle_root(self) -> bytes:
        """Return the root over the transactions that are really there."""
        count = max(
            -(-len(self.records) // RECORD.itemsize), -(-len(self.signatures) // _SIGNATURE)
        )
        return merkle.root(
            merkle.leaf_hash(self.record(i) + self.signature(i)) for i in range(count)
        )


def hash_of(header: Header, seal: bytes) -> bytes:
    """Return a block's hash: SHA-256 of header and seal, twice where a nonce is behind the seal."""
    sealed = header.to_bytes() + seal
    return work.double_sha256(sealed) if len(seal) > _SIGNATURE else sha256(sealed).digest()


@dataclass(frozen=True)
class SignedChain:
    """The blocks of one environment's ledger, and the accounts that may write to it.

    Seed and keys, which the chain's `id` is the hash of, cannot be set anew; blocks are appended.

    Attributes:
        seed: the environment's seed.
        keys: ed25519 public keys, 32 bytes each; an account is its index. The last belongs to the
            validators, whose key seals the blocks and whose account receives all fees, burned
            parts included; the one before it is the market's, and all others are seats'.
        blocks: the blocks so far.
        work_bits: zero bits that a block's hash begins with; 0: nothing is mined.
    """

    seed: int
    keys: tuple[bytes, ...]
    blocks: list[Block]
    work_bits: int = 0

    @classmethod
    def start(cls, seed: int, accounts: int, work_bits: int = 0) -> SignedChain:
        """Return an empty chain whose accounts' keys all derive from `seed`."""
        keys = (private_key(seed, account).public_key() for account in range(accounts))
        return cls(seed, tuple(key.public_bytes_raw() for key in keys), [], work_bits)

    @property
    def seal_bytes(self) -> int:
        """Length of a block's seal."""
        return _SIGNATURE + (work.NONCE_BYTES if self.work_bits else 0)

    @cached_property
    def id(self) -> bytes:
        """The 32-byte hash of the genesis, that is of seed and keys."""
        return sha256(self._genesis()).digest()

    @property
    def market(self) -> int:
        """The account that pays and is paid by seats."""
        return len(self.keys) - 2

    @property
    def tip(self) -> bytes:
        """The last block's hash; whoever keeps it can tell whether blocks were cut off."""
        return self.blocks[-1].hash if self.blocks else self.id

    def _genesis(self) -> bytes:
        magic, bits = (_MINED, bytes([self.work_bits])) if self.work_bits else (_MAGIC, b"")
        return _GENESIS.pack(magic, self.seed, len(self.keys)) + bits + b"".join(self.keys)

    def message(self, record: bytes) -> bytes:
        """Return what a sender signs: the record, bound to this chain."""
        return b"transaction" + self.id + record

    def commitment(self, record: np.void, salt: bytes) -> bytes:
        """Return the 32-byte hash that binds an order's sender, slot, place, price, quantity."""
        fields = b"".join(record[name].tobytes() for name in _COMMITTED)
        return sha256(b"commitment" + self.id + fields + salt).digest()

    def append(
        self, records: np.ndarray, signatures: Sequence[bytes], timestamp_ms: int,
        validator: Ed25519PrivateKey,
    ) -> Block:  # fmt: skip
        """Seal transactions into the next block.

        Args:
            records: `RECORD` [n].
            signatures: n signatures of 64 bytes over `message(record)`.
            timestamp_ms: no earlier than the last block's.
            validator: the key of the last account.

        Raises:
            LedgerError: when the time runs backwards or the lengths differ.
        """
        earliest = self.blocks[-1].header.timestamp_ms if self.blocks else 0
        if timestamp_ms < earliest:
            raise LedgerError(
                f"block {len(self.blocks)} at {timestamp_ms} ms would precede the last block at "
                f"{earliest} ms; blocks are appended in order of time"
            )
        if records.dtype != RECORD or len(signatures) != len(records):
            raise LedgerError(
                f"{len(records)} records of {records.dtype} and {len(signatures)} signatures; "
                "there must be one signature for each record of type RECORD"
            )
        encoded, signed = records.tobytes(), b"".join(signatures)
        size = RECORD.itemsize
        leaves = (
            merkle.leaf_hash(encoded[i * size : (i + 1) * size] + signature)
            for i, signature in enumerate(signatures)
        )
        header = Header(
            self.id, len(self.blocks), self.tip, merkle.root(leaves), timestamp_ms,
            len(self.keys) - 1, len(records),
        )  # fmt: skip
        seal = validator.sign(header.to_bytes())
        if self.work_bits:
            seal += work.mine(header.to_bytes() + seal, self.work_bits)
        block = Block(header, seal, encoded, signed)
        self.blocks.append(block)
        return block

    def records(self) -> np.ndarray:
        """Return every transaction in order, as `RECORD` [T]."""
        return np.frombuffer(b"".join(block.records for block in self.blocks), RECORD)

    def readings(self) -> np.ndarray:
        """Return the signed meter readings, int64 [accounts, slots], Wh, positive exported.

        Slots are counted from 0 to the last with a reading; an account without one has 0 there, as
        a sealed one has.
        """
        records = self.records()
        metered = records[records["kind"] == METER]
        slots = int(metered["slot"].max()) + 1 if len(metered) else 0
        found = np.zeros((len(self.keys), slots), np.int64)
        known = metered[metered["sender"] < len(self.keys)]
        found[known["sender"].astype(int), known["slot"].astype(int)] = known["quantity"]
        return found

    def balances(self) -> np.ndarray:
        """Rebuild all balances from the blocks alone.

        Returns:
            int64 [accounts], millionths of the currency since the chain's start; they sum to 0.

        Raises:
            LedgerError: for a balance beyond int64.
        """
        all_records = self.records()
        sender, receiver = all_records["sender"].astype(int), all_records["receiver"].astype(int)
        # Python's integers, which do not wrap: two huge fees must not add up to an income.
        fee, amount = all_records["fee"].astype(object), all_records["amount"].astype(object)
        balance = np.zeros(len(self.keys), object)
        np.add.at(balance, sender, -fee - amount)
        np.add.at(balance, receiver, amount)
        balance[-1] += fee.sum()
        try:
            return balance.astype(np.int64)
        except OverflowError as error:
            raise LedgerError("a balance is beyond int64: fees or amounts are not real") from error

    def to_bytes(self) -> bytes:
        """Return genesis and blocks as one string, every bit of which `verify` covers."""
        parts = [self._genesis()]
        for block in self.blocks:
            parts += [block.header.to_bytes(), block.seal, block.records, block.signatures]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> SignedChain:
        """Read what `to_bytes` wrote; it is not verified.

        Raises:
            LedgerError: when the data ends within the genesis or a block, naming it.
        """
        if len(data) <= _GENESIS.size or not data.startswith((_MAGIC, _MINED)):
            raise LedgerError(f"no chain: the data must begin with {_MAGIC!r} and the genesis")
        magic, seed, accounts = _GENESIS.unpack_from(data)
        first = _GENESIS.size + (magic == _MINED)
        at = first + accounts * _KEY
        if len(data) < at:
            raise LedgerError(f"the data ends within the genesis of {accounts} accounts")
        keys = tuple(data[i : i + _KEY] for i in range(first, at, _KEY))
        chain = cls(seed, keys, [], data[_GENESIS.size] if magic == _MINED else 0)
        while at < len(data):
            body = at + _HEADER.size + chain.seal_bytes
            header = Header(*_HEADER.unpack_from(data, at)) if body <= len(data) else None
            signed = body + header.count * RECORD.itemsize if header else body
            end = signed + header.count * _SIGNATURE if header else body
            if header is None or end > len(data):
                raise LedgerError(f"the data ends within block {len(chain.blocks)}")
            seal = data[body - chain.seal_bytes : body]
            chain.blocks.append(Block(header, seal, data[body:signed], data[signed:end]))
            at = end
        return chain

    def save(self, path: Path) -> None:
        """Write the chain to a file, whole or not at all."""
        files.write(path, self.to_bytes())


def signed_by(key: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` is the ed25519 signature of `message` by the public `key`."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
