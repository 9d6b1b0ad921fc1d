"""QBFT, as on enterprise Ethereum: known validators that vote on every block."""

from __future__ import annotations

from gridbazaar.ledger_sim.consensus.voting import Voting, VotingConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class QbftConfig(VotingConfig):
    """Parameters of QBFT; values and their sources are in configs/ledger/qbft.yaml."""


@LEDGERS.register("qbft")
class Qbft(Voting[QbftConfig]):
    """QBFT: known validators take turns to propose, two thirds sign, final at once

    Moniz, "The Istanbul BFT consensus algorithm", 2020, and Hyperledger Besu's documentation. All
    validators, the proposer too, send prepare and commit. The timeout of a round doubles with each
    that fails in a row; here every one costs the first timeout. Empty blocks come at the same pace
    (Besu, where xemptyblockperiodseconds does not space them out).
    """

    Config = QbftConfig
