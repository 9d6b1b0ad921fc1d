"""Secret store with real keys: encrypted documents, their hashes, and keys shared among servers.

Shamir, "How to share a secret", Communications of the ACM 22 (1979): a key is the constant of a
random polynomial of degree t - 1 over a prime field, server i holds its value at i, and t values
give it back while fewer say nothing about it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gridbazaar.errors import LedgerError

# The Mersenne prime above all keys of 256 bits.
PRIME = 2**521 - 1
_KEY_BYTES, _NONCE_BYTES = 32, 12


def split(key: int, servers: int, threshold: int) -> dict[int, int]:
    """Return a part of a key for each server, by its number from 1 on.

    Raises:
        LedgerError: unless 1 <= threshold <= servers, and the key lies in the field.
    """
    if not 1 <= threshold <= servers:
        raise LedgerError(f"threshold is {threshold}; allowed is 1 to {servers}, all servers")
    if not 0 <= key < PRIME:
        raise LedgerError("a key must be 0 or more, and below 2^521 - 1")
    coefficients = [key, *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]

    def value(at: int) -> int:
        total = 0
        for coefficient in reversed(coefficients):
            total = (total * at + coefficient) % PRIME
        return total

    return {server: value(server) for server in range(1, servers + 1)}


def join(parts: Mapping[int, int]) -> int:
    """Return the key from as many parts as it takes, by Lagrange's formula at 0.

    Fewer parts, or wrong ones, give another number; nothing tells so but what it opens.
    """
    total = 0
    for own, value in parts.items():
        above = below = 1
        for other in parts:
            if other != own:
                above = above * other % PRIME
                below = below * (other - own) % PRIME
        total += value * above * pow(below, -1, PRIME)
    return total % PRIME


@dataclass(slots=True)
class KeyServer:
    """Server that holds parts of keys, and hands them to those who may read.

    Attributes:
        parts: part of each document's key, by the document's hash.
        readers: who may read it.
    """

    parts: dict[bytes, int] = field(default_factory=dict)
    readers: dict[bytes, frozenset[str]] = field(default_factory=dict)

    def part(self, document: bytes, reader: str) -> int | None:
        """Return a part, or None where this reader may not have it."""
        return self.parts[document] if reader in self.readers.get(document, ()) else None


class DocumentStore:
    """Documents off the chain; what stands on it is the hash of what is stored.

    Args:
        servers: n.
        threshold: parts that open a document.

    Attributes:
        servers: that hold the keys' parts, by number from 1 on.
        stored: encrypted documents by their hashes.
    """

    def __init__(self, servers: int, threshold: int) -> None:
        split(0, servers, threshold)  # which refuses what cannot be
        self.threshold = threshold
        self.servers = {number: KeyServer() for number in range(1, servers + 1)}
        self.stored: dict[bytes, bytes] = {}

    def put(self, document: bytes, readers: Iterable[str]) -> bytes:
        """Encrypt and store a document; return the hash for the chain, 32 bytes."""
        key, nonce = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + ChaCha20Poly1305(key).encrypt(nonce, document, None)
        name, allowed = sha256(sealed).digest(), frozenset(readers)
        parts = split(int.from_bytes(key, "big"), len(self.servers), self.threshold)
        for number, server in self.servers.items():
            server.parts[name], server.readers[name] = parts[number], allowed
        self.stored[name] = sealed
        return name

    def get(self, name: bytes, reader: str, there: Sequence[int] | None = None) -> bytes:
        """Return a document to a reader.

        Args:
            name: its hash, from the chain.
            reader: who asks.
            there: servers that answer; None: all.

        Raises:
            LedgerError: for an unknown document, one that no longer has its hash, a reader who may
                not have it, or too few servers.
        """
        if name not in self.stored:
            raise LedgerError(f"no document {name.hex()[:16]} in the store")
        sealed = self.stored[name]
        if sha256(sealed).digest() != name:
            raise LedgerError(f"document {name.hex()[:16]} was changed: its hash is another")
        numbers = self.servers if there is None else there
        parts = {n: part for n in numbers if (part := self.servers[n].part(name, reader))}
        if len(parts) < self.threshold:
            raise LedgerError(
                f"{len(parts)} servers give {reader!r} a part of the key of document "
                f"{name.hex()[:16]}; it takes {self.threshold}"
            )
        try:
            key = join(parts).to_bytes(_KEY_BYTES, "big")
            return ChaCha20Poly1305(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, OverflowError):
            raise LedgerError(
                f"the key of document {name.hex()[:16]} is wrong: a server gave a false part"
            ) from None
