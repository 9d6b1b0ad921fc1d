"""Merkle trees over byte strings, hashed as in RFC 6962 so that leaves are no nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def path(leaves: Iterable[bytes], index: int) -> list[bytes]:
    """Return the siblings on the way from leaf `index` to the root, RFC 6962's audit path.

    Raises:
        IndexError: there is no such leaf.
    """
    level = list(leaves)
    if not 0 <= index < len(level):
        raise IndexError(f"leaf {index} of {len(level)}")
    siblings = []
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        pairs = zip(level[::2], level[1::2], strict=False)
        upper = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        level = upper + level[len(upper) * 2 :]
        index //= 2
    return siblings


def root_above(leaf: bytes, index: int, count: int, siblings: Sequence[bytes]) -> bytes | None:
    """Return the root that a leaf's path leads to; None where it has not the tree's length.

    Args:
        leaf: hash of the leaf.
        index: its place among `count` leaves.
        count: leaves of the tree.
        siblings: as `path` gives them.
    """
    node, left = leaf, list(siblings)
    while count > 1:
        if index ^ 1 < count:
            if not left:
                return None
            other = left.pop(0)
            first, second = (node, other) if index % 2 == 0 else (other, node)
            node = sha256(b"\x01" + first + second).digest()
        index, count = index // 2, (count + 1) // 2
    return None if left else node
