"""Lightweight node: headers alone, which show that a transaction stands in a chain.

It keeps no transaction. Who has the whole chain gives it one with the hashes on its way to the root
in the block's header; that the header is the chain's, it checks by links and seals. It cannot tell
what is missing from a block, nor whether amounts are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.record import merkle
from gridbazaar.ledger_sim.record.signed_chain import Header, SignedChain, hash_of, signed_by
from gridbazaar.ledger_sim.record.work import NONCE_BYTES, is_enough


@dataclass(frozen=True)
class Proof:
    """A signed transaction and its way to the Merkle root of block `height`."""

    height: int
    index: int
    record: bytes
    signature: bytes
    siblings: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes beside the transaction itself: place and hashes."""
        return 16 + sum(map(len, self.siblings))


def prove(chain: SignedChain, height: int, index: int) -> Proof:
    """Return the proof that transaction `index` stands in block `height` of a whole chain.

    Raises:
        LedgerError: there is no such block or transaction.
    """
    if not 0 <= height < len(chain.blocks) or not 0 <= index < chain.blocks[height].header.count:
        raise LedgerError(
            f"block {height}, transaction {index}: the chain has {len(chain.blocks)} blocks"
            + (
                f", and this one {chain.blocks[height].header.count} transactions"
                if 0 <= height < len(chain.blocks)
                else ""
            )
        )
    block = chain.blocks[height]
    leaves = (
        merkle.leaf_hash(block.record(i) + block.signature(i)) for i in range(block.header.count)
    )
    siblings = tuple(merkle.path(leaves, index))
    return Proof(height, index, block.record(index), block.signature(index), siblings)


@dataclass
class LightNode:
    """Headers of one chain, each accepted only on top of the last.

    Attributes:
        chain: 32 bytes, `SignedChain.id`, kept from the chain's start.
        validator: public key of who seals blocks.
        work_bits: of the chain; each header shows them by its nonce.
        headers: accepted so far.
        tip: hash of the last block.
    """

    chain: bytes
    validator: bytes
    work_bits: int = 0
    headers: list[Header] = field(default_factory=list)
    tip: bytes = b""

    def __post_init__(self) -> None:
        self.tip = self.tip or self.chain

    @property
    def nonce_bytes(self) -> int:
        """Length of the nonce behind each seal."""
        return NONCE_BYTES if self.work_bits else 0

    @property
    def size_bytes(self) -> int:
        """Bytes that it keeps: a header each, and the last hash."""
        return sum(len(header.to_bytes()) for header in self.headers) + len(self.tip)

    def accept(self, header: Header, seal: bytes) -> None:
        """Take the next block's header.

        Raises:
            LedgerError: it is another chain's, does not follow, or is not the validator's.
        """
        encoded = header.to_bytes()
        if header.chain != self.chain or header.previous != self.tip:
            raise LedgerError(f"header {header.height} does not follow {len(self.headers)} others")
        if header.height != len(self.headers):
            raise LedgerError(f"header says height {header.height}, not {len(self.headers)}")
        if not signed_by(self.validator, seal[: len(seal) - self.nonce_bytes], encoded):
            raise LedgerError(f"header {header.height} is not sealed by the validator")
        if not is_enough(hash_of(header, seal), self.work_bits):
            raise LedgerError(f"header {header.height} has not {self.work_bits} bits of work")
        self.headers.append(header)
        self.tip = hash_of(header, seal)

    def holds(self, proof: Proof) -> bool:
        """Tell whether a proof shows that its transaction stands in one of the blocks."""
        if not 0 <= proof.height < len(self.headers):
            return False
        header = self.headers[proof.height]
        if not 0 <= proof.index < header.count:
            return False
        leaf = merkle.leaf_hash(proof.record + proof.signature)
        found = merkle.root_above(leaf, proof.index, header.count, list(proof.siblings))
        return found == header.merkle_root


def follow(chain: SignedChain) -> LightNode:
    """Return a lightweight node that has seen every header of a chain.

    Raises:
        LedgerError: as `LightNode.accept`.
    """
    node = LightNode(chain.id, chain.keys[-1], chain.work_bits)
    for block in chain.blocks:
        node.accept(block.header, block.seal)
    return node


def sizes(chains: Sequence[SignedChain]) -> tuple[int, int]:
    """Return the bytes that full and lightweight nodes keep of some chains."""
    return sum(len(chain.to_bytes()) for chain in chains), sum(
        follow(chain).size_bytes for chain in chains
    )
