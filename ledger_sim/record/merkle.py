"""Merkle trees over byte strings, hashed as in RFC 6962 so that leaves are no nodes."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def leaf_hash(data: bytes) -> bytes:
    """Return the 32-byte hash of one leaf."""
    return sha256(b"\x00" + data).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the 32-byte root over leaf hashes; a node without a sibling moves up unchanged.

    The root of no leaves is the hash of nothing. Equal to RFC 6962's tree, whose left part is the
    largest power of two below the number of leaves.
    """
    level = list(leaves)
    if not level:
        return sha256(b"").digest()
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        upper = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        level = upper + level[len(upper) * 2 :]
    return level[0]
