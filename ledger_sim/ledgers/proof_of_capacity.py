"""Proof of capacity: a lottery by disk space, as in Chia."""

from __future__ import annotations

from ledger_sim.ledgers.proof_of_work import ProofOfWork, ProofOfWorkConfig
from ledger_sim.registry import consensus


class ProofOfCapacityConfig(ProofOfWorkConfig):
    """Parameters of proof of capacity; `attacker_share` is of all space."""


@consensus("proof_of_capacity", ProofOfCapacityConfig)
class ProofOfCapacity(ProofOfWork):
    """Blocks at random times, final by depth: a lottery by disk space, timed by delay functions

    Space takes the place of computing power: each of Chia's signage points, every 9.375 s, draws
    winners, and all of them are infused one after the other, so that none goes stale. The attack on
    a chain of space is taken to be as likely as that on a chain of work.
    """

    permission = "both"  # type: ignore[assignment]
    decentralisation = "medium"  # type: ignore[assignment]

    @property
    def stale_share(self) -> float:
        """Winners at the same point all come into the chain."""
        return 0.0
