"""Proof of capacity: a lottery by disk space, as in Chia."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from gridbazaar.ledger_sim.consensus.proof_of_work import ProofOfWork, ProofOfWorkConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class ProofOfCapacityConfig(ProofOfWorkConfig):
    """Parameters of proof of capacity; `attacker_share` is of all space."""

    transaction_interval_s: float = Field(
        ge=1e-3,
        description="between blocks that hold transactions; `block_gas` is the room of one",
        json_schema_extra={"unit": "s"},
    )


@LEDGERS.register("proof_of_capacity")
class ProofOfCapacity(ProofOfWork[ProofOfCapacityConfig]):
    """Blocks at random times, final by depth: a lottery by disk space, timed by delay functions

    Space takes the place of computing power: each of Chia's signage points, every 9.375 s, draws
    winners, and all of them are infused one after the other, so that none goes stale. Only one
    whose point follows the infusion of the last block with transactions may hold some, about one
    in three (docs.chia.net, consensus: foliage). These come as a Poisson process here, without the
    pause that the rule makes after each. Confirmations are blocks of either kind, and take their
    mean time. The attack on a chain of space is taken to be as likely as that on a chain of work.
    """

    Config = ProofOfCapacityConfig

    config: ProofOfCapacityConfig
    permission = "both"
    decentralisation = "medium"

    @property
    def interval_s(self) -> float:
        """Mean seconds between blocks that hold transactions."""
        return self.config.transaction_interval_s

    @property
    def confirmations(self) -> int:
        """None of the blocks that hold transactions: `final_s` counts both kinds."""
        return 0

    def final_s(self, block_s: Tensor) -> Tensor:
        """Return when the confirming blocks have come, at their mean pace."""
        return block_s + self.config.confirmations * self.config.interval_s

    @property
    def stale_share(self) -> float:
        """Winners at the same point all come into the chain."""
        return 0.0

    @property
    def block_messages(self) -> float:
        """Each block goes to each other node once, those without transactions too."""
        return super().block_messages * self.interval_s / self.config.interval_s
