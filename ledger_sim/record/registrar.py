"""Registrar: knows who is a member, and signs a pseudonym of each without seeing it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric import rsa
from torch import Tensor

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.record import blind_rsa
from gridbazaar.ledger_sim.record.privacy import Disclosure

_EVERY = 96  # slots of which one is executed, beginning with the day's first


class Registrar:
    """A certificate authority: one credential for each member and slot, none for anybody else.

    Args:
        members: seats that are registered.
        bits: of its RSA key, which is drawn anew and decides no number.

    Attributes:
        public: its key, by which all check credentials.
        seen: (seat, slot) and the blinded message of each request: all that it knows.
    """

    def __init__(self, members: Iterable[int], bits: int) -> None:
        self._members = frozenset(members)
        self._key = rsa.generate_private_key(65537, bits)
        self.public = self._key.public_key()
        self.seen: dict[tuple[int, int], bytes] = {}

    def sign(self, seat: int, slot: int, blinded: bytes) -> bytes:
        """Sign a member's blinded pseudonym for a slot.

        Raises:
            LedgerError: the seat is not registered, or has its credential for the slot.
        """
        if seat not in self._members:
            raise LedgerError(f"seat {seat} is not registered; enter it with the registrar first")
        if (seat, slot) in self.seen:
            raise LedgerError(f"seat {seat} has its credential for slot {slot}; each has one")
        self.seen[seat, slot] = blinded
        return blind_rsa.blind_sign(self._key, blinded)


def obtain(registrar: Registrar, seat: int, slot: int, account: bytes) -> tuple[bytes, bytes]:
    """Return a credential of an account: what is signed, prefix and all, and the signature.

    Args:
        registrar: is shown neither.
        seat: that asks, by its own name.
        slot: in which the account sends an order.
        account: public key of the pseudonym.

    Raises:
        LedgerError: as `Registrar.sign`.
    """
    prepared = blind_rsa.prepare(account)
    blinded = blind_rsa.blind(registrar.public, prepared)
    answer = registrar.sign(seat, slot, blinded.message)
    return prepared, blind_rsa.finalize(registrar.public, prepared, answer, blinded.inverse)


def admits(registrar: Registrar, account: bytes, credential: tuple[bytes, bytes]) -> bool:
    """Tell whether a credential is the registrar's, and of this account."""
    prepared, signature = credential
    mine = prepared[blind_rsa.PREFIX :] == account
    return mine and blind_rsa.valid(registrar.public, prepared, signature)


class SampledCredentials:
    """Issues and checks the credentials of one slot in 96, for each recorded market.

    Args:
        disclosure: the registrar's key, and whom it does not know.
        seats: that there are.
    """

    def __init__(self, disclosure: Disclosure, seats: int) -> None:
        self._bits = disclosure.credential_bits
        self._members = frozenset(range(seats)) - frozenset(disclosure.unregistered)

    def check(self, slot: int, accounts: Sequence[Sequence[bytes]], sent: Tensor) -> list[str]:
        """Let every seat with an order obtain a credential of its account; return what fails.

        Args:
            slot: of the day.
            accounts: public key of each market's seats in the slot.
            sent: bool [R, N], whose order stands in a block.
        """
        if slot % _EVERY:
            return []
        faults = []
        for market, keys in enumerate(accounts):
            registrar = Registrar(self._members, self._bits)
            for seat in sent[market].nonzero()[:, 0].tolist():
                try:
                    obtain(registrar, seat, slot, keys[seat])
                except LedgerError as error:
                    faults.append(f"chain {market}, slot {slot}: {error}")
        return faults
