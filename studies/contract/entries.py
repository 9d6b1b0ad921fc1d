"""Inputs of the contract: books of orders, words of a batch, leaves and proofs of a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from eth_abi import encode
from eth_hash.auto import keccak
from numpy.typing import NDArray

Integers = NDArray[np.int64]

DEBIT = 1 << 255  # set in a word of a batch whose amount is negative
CLAIMED = 2  # what the contract hashes into a leaf
ORDER = (
    "Order(address trader,uint256 interval,bool isBid,uint256 price,uint256 energy,uint256 nonce)"
)
STATE = "ChannelState(bytes32 channel,uint256 sequence,uint256 paid)"
CLOSE = "ChannelClose(bytes32 channel,uint256 paid)"


@dataclass(frozen=True)
class Book:
    """Orders as the contract takes them: prices in 1e-6 EUR/kWh and energy in Wh, one per order.

    `is_bid`, `price` and `energy` are [N], in the order of arrival.
    """

    is_bid: NDArray[np.bool_]
    price: Integers
    energy: Integers

    def side(self, bids: bool) -> tuple[list[int], list[int]]:
        """Return prices and energy of the bids or of the asks, as Python's integers."""
        of = self.is_bid == bids
        return self.price[of].tolist(), self.energy[of].tolist()

    @property
    def shifts(self) -> int:
        """How many places an insertion sort moves orders by: the pairs in the wrong order."""
        return _inversions(-self.price[self.is_bid]) + _inversions(self.price[~self.is_bid])

    def ranking(self, bids: bool) -> list[int]:
        """Return the bids or asks from the best on, equal ones by arrival."""
        price = self.price[self.is_bid == bids]
        return [int(i) for i in np.argsort(-price if bids else price, kind="stable")]


def random_book(
    generator: np.random.Generator, bids: int, asks: int, overlap: float = 0.0, tick: int = 1
) -> Book:
    """Draw a book.

    Args:
        generator: of all numbers.
        bids, asks: orders of each side, arriving in random order.
        overlap: by how many ranges of price the bids lie above the asks; -1 lets none trade.
        tick: prices are multiples of it: the larger, the more ties.
    """
    is_bid = generator.permutation(np.arange(bids + asks) < bids)
    level = generator.random(bids + asks) + overlap * is_bid
    price = (150_000 + 100_000 * level).astype(np.int64) // tick * tick
    return Book(is_bid, price, generator.integers(50, 5_000, bids + asks))


def _inversions(values: Integers) -> int:
    return int(np.triu(values[:, None] > values[None, :], 1).sum())


def word(account: int, amount: int) -> int:
    """Return an entry of a batch: sign, account and amount in one word."""
    return (account << 128) | abs(amount) | (DEBIT if amount < 0 else 0)


def fills(book: Book, bids: bool, energy: Sequence[int], price: Sequence[int]) -> list[int]:
    """Return one word for each bid or ask of a book: what it trades (Wh, no sign) at what price."""
    side = (book.is_bid == bids).nonzero()[0].tolist()
    return [(price[i] << 64) | energy[i] if energy[i] else 0 for i in side]


def leaf(interval: int, entry: int) -> bytes:
    """Return the Merkle leaf of a payment."""
    return keccak(encode(["uint256", "uint256", "uint256"], [interval, entry, CLAIMED]))


def merkle_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Return a tree's levels, leaves first; nodes hash their children, the smaller first."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        upper = [
            keccak(min(a, b) + max(a, b)) for a, b in zip(below[::2], below[1::2], strict=False)
        ]
        levels.append(upper + below[len(upper) * 2 :])
    return levels


def merkle_proof(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """Return the siblings on the way from a leaf to the root."""
    proof = []
    for level in levels[:-1]:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        index //= 2
    return proof
