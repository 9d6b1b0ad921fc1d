"""Delegated Byzantine fault tolerance, as in Neo: seven elected nodes, a block every 15 s."""

from __future__ import annotations

from gridbazaar.ledger_sim.consensus.election import Elected, ElectedConfig
from gridbazaar.ledger_sim.consensus.quorum import pbft_messages
from gridbazaar.ledger_sim.consensus.voting import Voting, VotingConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class DbftConfig(ElectedConfig, VotingConfig):
    """Parameters of dBFT; values and their sources are in configs/ledger/dbft.yaml."""


@LEDGERS.register("dbft")
class Dbft(Elected[DbftConfig], Voting[DbftConfig]):
    """dBFT (Neo): nodes propose in turn and vote twice, one block and it is final

    Neo's documentation of dBFT 2.0: the speaker proposes as its timer says, an empty block too.
    Where `election` is given, holders elect the nodes by their stakes, and a node's reputation,
    which falls with every turn that it fails, counts with its votes (the reputation-based dBFT of
    EPS 6.3.2 [93], whose own formula the review does not print); else the nodes are given.
    """

    Config = DbftConfig

    permission = "both"
    decentralisation = "low"

    @property
    def block_messages(self) -> float:
        """PrepareRequest, PrepareResponse of the others, Commit of all: as many as PBFT's."""
        return float(pbft_messages(self.config.validators))
