"""Encrypted sums of meter readings: Paillier's cryptosystem, executed on recorded days.

Paillier, "Public-key cryptosystems based on composite degree residuosity classes", EUROCRYPT 1999:
the product of ciphertexts is one of the sum, and a power one of a multiple. By python-paillier
(`phe`), which is an extra: `pip install 'gridbazaar[privacy]'`. Keys are drawn anew by the system
and decide no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.record.privacy import Disclosure, Published

_MILLI = 1000
_EVERY = 24  # periods of which one is encrypted, beginning with the day's first
Ciphertext = Any  # phe has no types


class Biller:
    """Holds the private key; gives meters the public one, and is handed sums alone.

    Args:
        bits: of the modulus.

    Raises:
        LedgerError: `phe` is not installed.
    """

    def __init__(self, bits: int) -> None:
        try:
            import phe
        except ImportError:
            raise LedgerError(
                "readings of recorded days are encrypted by phe, which is not installed: "
                "pip install 'gridbazaar[privacy]', or record no days"
            ) from None
        self.public, self._private = phe.generate_paillier_keypair(n_length=bits)

    def open(self, ciphertext: Ciphertext) -> int:
        """Return what a ciphertext holds."""
        return int(self._private.decrypt(ciphertext))


def encrypt(public: Any, readings: Tensor) -> list[Ciphertext]:
    """Return each meter's ciphertext of its reading [N], to the thousandth of a unit."""
    return [public.encrypt(number) for number in (readings * _MILLI).round().long().tolist()]


def total(ciphertexts: Sequence[Ciphertext]) -> Ciphertext:
    """Return a ciphertext of the sum; whoever forms it needs no key and reads nothing.

    Raises:
        LedgerError: there is none to add.
    """
    if not ciphertexts:
        raise LedgerError("a sum of no ciphertexts; give at least one reading")
    return sum(ciphertexts[1:], ciphertexts[0])


def weighted(ciphertexts: Sequence[Ciphertext], prices: Sequence[int]) -> Ciphertext:
    """Return a ciphertext of a seat's bill: its readings times the slots' prices, in whole steps.

    Raises:
        LedgerError: for another number of prices than of readings.
    """
    if len(prices) != len(ciphertexts):
        raise LedgerError(f"{len(prices)} prices for {len(ciphertexts)} readings; give one each")
    return total([one * price for one, price in zip(ciphertexts, prices, strict=True)])


class EncryptedSums:
    """Forms some of a day's published sums of ciphertexts, and compares what is opened.

    One period in 24 is encrypted, and of it one group of seats, each in its turn: a reading takes
    10 ms.

    Args:
        disclosure: how volumes are summed and encrypted.
        markets: R that are recorded.

    Attributes:
        readings: that were encrypted so far.
    """

    def __init__(self, disclosure: Disclosure, markets: int) -> None:
        self._seats = disclosure.seats
        self._biller = Biller(disclosure.cipher_bits)
        self._period = 0
        self._own: list[list[Ciphertext]] = [[] for _ in range(markets)]
        self.readings = 0

    def add(self, volume: Tensor, published: Published | None) -> list[str]:
        """Add the next slot's volumes, [R, N]; return what is wrong where their period ends."""
        group = self._group(volume.shape[1])
        if group is None:
            self._period += published is not None
            return []
        first, groups = group * self._seats, volume.shape[1] // self._seats
        end = None if group == groups - 1 else first + self._seats
        for own, of_market in zip(self._own, volume, strict=True):
            own += encrypt(self._biller.public, of_market[first:end])
        if published is None:
            return []
        faults = self._compare(published, group)
        self._period, self._own = self._period + 1, [[] for _ in self._own]
        return faults

    def _group(self, seats: int) -> int | None:
        """Return the group whose turn it is; None in a period that is not encrypted."""
        turn, rest = divmod(self._period, _EVERY)
        return None if rest else turn % (seats // self._seats)

    def _compare(self, published: Published, group: int) -> list[str]:
        """Return the sums that are not what was published, up to each reading's rounding."""
        faults = []
        for market, own in enumerate(self._own):
            self.readings += len(own)
            if not published.shown[market, group]:
                continue
            opened = self._biller.open(total(own)) / _MILLI
            told = float(published.volume[market, group])
            if abs(opened - told) > 0.5e-3 * (len(own) + 2):
                faults.append(
                    f"chain {market}, sum of group {group}: {told:.3f} was published, "
                    f"{opened:.3f} is what the ciphertexts hold"
                )
        return faults
