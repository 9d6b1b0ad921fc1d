"""Blind RSA signatures, RFC 9474: signed without being seen, checked as any RSA-PSS signature.

RSABSSA-SHA384-PSS-Randomized. Keys and the check come from `cryptography`; blinding is the
RFC's section 4, for which no library in Python is kept, and is held to its Appendix A.1 in tests.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from hashlib import sha384

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA384

from gridbazaar.errors import LedgerError

_HASH = 48
PREFIX = 32


@dataclass(frozen=True, slots=True)
class Blinded:
    """What the signer sees, and what takes the blinding off its answer again.

    Attributes:
        message: as long as the modulus; each value is as likely whatever is signed.
        inverse: of the blinding factor; kept by the client.
    """

    message: bytes
    inverse: int


def prepare(message: bytes) -> bytes:
    """Return the message behind a random prefix (4.1), which is what is signed."""
    return secrets.token_bytes(PREFIX) + message


def blind(
    key: RSAPublicKey, prepared: bytes, salt: bytes | None = None, factor: int | None = None
) -> Blinded:
    """Blind a prepared message (4.2); `salt` and `factor` are drawn where none is given.

    Raises:
        LedgerError: the message or the factor has no inverse, which shows a factor of the key.
    """
    public = key.public_numbers()
    encoded = encode(prepared, salt or secrets.token_bytes(_HASH), public.n.bit_length() - 1)
    number = int.from_bytes(encoded)
    factor = factor or 1 + secrets.randbelow(public.n - 1)
    if math.gcd(number * factor, public.n) != 1:
        raise LedgerError("the message shares a factor with the registrar's key; draw another key")
    blinded = number * pow(factor, public.e, public.n) % public.n
    return Blinded(blinded.to_bytes(_length(key)), pow(factor, -1, public.n))


def blind_sign(key: RSAPrivateKey, blinded: bytes) -> bytes:
    """Sign what cannot be read (4.3).

    Raises:
        LedgerError: the blinded message is no number below the modulus.
    """
    private = key.private_numbers()
    n, number = private.public_numbers.n, int.from_bytes(blinded)
    if len(blinded) != _length(key.public_key()) or number >= n:
        raise LedgerError(
            f"a blinded message of {len(blinded)} bytes; it must be a number below the modulus, "
            f"of {_length(key.public_key())} bytes"
        )
    signed = pow(number, private.d, n)
    if pow(signed, private.public_numbers.e, n) != number:
        raise LedgerError("the signature does not verify; the registrar's key is broken")
    return signed.to_bytes(len(blinded))


def finalize(key: RSAPublicKey, prepared: bytes, blind_signature: bytes, inverse: int) -> bytes:
    """Take the blinding off and check what is left (4.4).

    Raises:
        LedgerError: it is no signature of the message.
    """
    n = key.public_numbers().n
    signature = (int.from_bytes(blind_signature) * inverse % n).to_bytes(_length(key))
    if not valid(key, prepared, signature):
        raise LedgerError("the registrar's answer is no signature of what it was given; ask again")
    return signature


def valid(key: RSAPublicKey, prepared: bytes, signature: bytes) -> bool:
    """Tell whether a signature is one of a prepared message."""
    try:
        key.verify(signature, prepared, PSS(MGF1(SHA384()), _HASH), SHA384())
    except InvalidSignature:
        return False
    return True


def encode(message: bytes, salt: bytes, bits: int) -> bytes:
    """Encode a message for RSA-PSS (RFC 8017, 9.1.1) in so many bits, with SHA-384 and MGF1."""
    length = -(-bits // 8)
    digest = sha384(bytes(8) + sha384(message).digest() + salt).digest()
    block = (b"\x01" + salt).rjust(length - _HASH - 1, b"\x00")
    mask = b"".join(
        sha384(digest + count.to_bytes(4)).digest() for count in range(-(-len(block) // _HASH))
    )
    masked = int.from_bytes(block) ^ int.from_bytes(mask[: len(block)])
    masked &= (1 << 8 * len(block) - (8 * length - bits)) - 1
    return masked.to_bytes(len(block)) + digest + b"\xbc"


def _length(key: RSAPublicKey) -> int:
    return key.key_size // 8
