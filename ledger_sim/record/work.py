"""Proof of work in recorded blocks: a nonce that makes SHA-256, taken twice, small enough."""

from __future__ import annotations

from hashlib import sha256
from itertools import count

NONCE_BYTES = 8


def double_sha256(data: bytes) -> bytes:
    """Return SHA-256 of SHA-256, 32 bytes (Nakamoto 2008, section 4, after Hashcash)."""
    return sha256(sha256(data).digest()).digest()


def is_enough(digest: bytes, work_bits: int) -> bool:
    """Tell whether a hash begins with so many zero bits."""
    return int.from_bytes(digest, "big") >> (8 * len(digest) - work_bits) == 0


def mine(sealed: bytes, work_bits: int) -> bytes:
    """Return the first nonce behind `sealed` that is enough; it takes 2**work_bits on average."""
    for number in count():
        nonce = number.to_bytes(NONCE_BYTES, "big")
        if is_enough(double_sha256(sealed + nonce), work_bits):
            return nonce
    raise AssertionError
