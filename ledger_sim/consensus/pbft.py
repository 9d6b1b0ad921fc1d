"""Practical Byzantine fault tolerance (PBFT): no block clock, a batch in every round."""

from __future__ import annotations

from gridbazaar.ledger_sim.consensus.quorum import pbft_messages
from gridbazaar.ledger_sim.consensus.voting import Voting, VotingConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class PbftConfig(VotingConfig):
    """Parameters of PBFT; values and their sources are in configs/ledger/pbft.yaml."""


@LEDGERS.register("pbft")
class Pbft(Voting[PbftConfig]):
    """PBFT: a batch as soon as the last is agreed on, three phases, 2n(n - 1) messages

    Castro and Liskov, "Practical Byzantine fault tolerance", OSDI 1999. The primary stays until it
    fails; the one change of view that a fault costs is left out. A round begins with a client's
    request, so that no request makes no round.
    """

    Config = PbftConfig

    decentralisation = "high"
    rotates = False
    empty_blocks = False

    @property
    def block_messages(self) -> float:
        """Pre-prepare, prepare and commit."""
        return float(pbft_messages(self.config.validators))
