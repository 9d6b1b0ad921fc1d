"""Tendermint, now CometBFT: a proposer in turn, prevote, precommit."""

from __future__ import annotations

from gridbazaar.ledger_sim.consensus.voting import Voting, VotingConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class TendermintConfig(VotingConfig):
    """Parameters of Tendermint; configs/ledger/tendermint.yaml and tendermint_pilot.yaml."""


@LEDGERS.register("tendermint")
class Tendermint(Voting[TendermintConfig]):
    """Tendermint: proposers in turn, prevote and precommit of more than two thirds, final at once

    Buchman, Kwon and Milosevic, "The latest gossip on BFT consensus", 2018. Messages go straight to
    all others here; a gossiping network relays them, which takes longer and sends more. Empty
    blocks are made too, as by default (CometBFT's configuration, create_empty_blocks).
    """

    Config = TendermintConfig

    permission = "both"
