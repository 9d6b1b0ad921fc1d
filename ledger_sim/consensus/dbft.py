"""Delegated Byzantine fault tolerance, as in Neo: seven elected nodes, a block every 15 s."""

from __future__ import annotations

from gridbazaar.ledger_sim.consensus.quorum import pbft_messages
from gridbazaar.ledger_sim.consensus.voting import Voting, VotingConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class DbftConfig(VotingConfig):
    """Parameters of dBFT; values and their sources are in configs/ledger/dbft.yaml."""


@LEDGERS.register("dbft")
class Dbft(Voting[DbftConfig]):
    """dBFT (Neo): given nodes propose in turn and vote twice, one block and it is final

    Neo's documentation of dBFT 2.0: the speaker proposes as its timer says, an empty block too.
    Neo's holders elect the nodes; votes, and a reputation of nodes, are left out here.
    """

    Config = DbftConfig

    permission = "both"
    decentralisation = "low"

    @property
    def block_messages(self) -> float:
        """PrepareRequest, PrepareResponse of the others, Commit of all: as many as PBFT's."""
        return float(pbft_messages(self.config.validators))
