"""XRP Ledger's consensus: proposals in rounds until four fifths of trusted nodes agree."""

from __future__ import annotations

import math

from pydantic import Field

from gridbazaar.config import Share
from gridbazaar.ledger_sim.consensus.propagation import transfer_s
from gridbazaar.ledger_sim.consensus.protocol import Health, Tolerance
from gridbazaar.ledger_sim.consensus.quorum import votes_s
from gridbazaar.ledger_sim.consensus.voting import Voting, VotingConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class RippleConfig(VotingConfig):
    """Parameters of the XRP Ledger; values and their sources are in configs/ledger/ripple.yaml."""

    proposal_rounds: int = Field(
        ge=1,
        description="in which validators adapt their transaction sets, before they validate",
        json_schema_extra={"unit": "rounds"},
    )
    overlap: Share = Field(
        default=1.0,
        description="of a node's list of trusted validators, that every other node's list shares; "
        "1: all trust the same",
        json_schema_extra={"unit": "1"},
    )


@LEDGERS.register("ripple")
class Ripple(Voting[RippleConfig]):
    """Ripple: rounds of proposals, final once 80 % of the trusted validators sign a ledger

    Schwartz, Youngs and Britto, "The Ripple protocol consensus algorithm", 2014; quorum and rounds
    after xrpl.org and rippled's ConsensusParms.h. Every node has a list of n trusted validators, of
    which `overlap` stand on any other's too. Two lists can validate different ledgers when fewer
    honest validators are on both than either can do without: with 80 %, at 40 % overlap and less
    nobody need lie for it (Armknecht et al., "Ripple: overview and outlook", TRUST 2015).
    """

    Config = RippleConfig

    minimum_validators = 5
    permission = "both"
    rotates = False  # everybody proposes

    @property
    def quorum(self) -> int:
        """Four fifths, rounded up."""
        return -(-4 * self.config.validators // 5)

    @property
    def tolerance(self) -> Tolerance:
        """A fifth may be silent, less than a fifth may lie: (n - 1) / 5 in the white paper."""
        n = self.config.validators
        beyond = "ledgers are no longer validated; a fifth of liars may split the ledger"
        return Tolerance(n - self.quorum, max(min((n - 1) // 5, self.unsplit), 0), beyond)

    @property
    def unsplit(self) -> int:
        """Liars with whom two lists cannot validate different ledgers; -1: even without any.

        Each of them may lack n - quorum; a liar on both lists says one thing to one and another to
        the other.
        """
        n = self.config.validators
        shared = math.floor(self.config.overlap * n + 1e-9)
        return shared - 2 * (n - self.quorum) - 1

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Unsafe too where lists overlap so little that liars, or delays alone, split them."""
        health = super().health(crashed, lying, cut_off)
        if lying <= self.unsplit or not health.final:
            return health
        return Health(health.block_share, health.final, safe=False)

    @property
    def reversal_probability(self) -> float:
        """1 where the lists may validate different ledgers though nobody lies (the worst case)."""
        return float(self.unsplit < 0)

    @property
    def commit_s(self) -> float:
        """Rounds of proposals and one of validations, after the transactions themselves."""
        config, network = self.config, self.config.network
        n, rounds = config.validators, config.proposal_rounds + 1
        sent_bytes = (n - 1) * (config.block_bytes + rounds * network.message_bytes)
        waits_s = rounds * votes_s(network.delay_s(), n, self.quorum)
        return (
            waits_s
            + transfer_s(sent_bytes, network.bandwidth_kbit_s)
            + config.checks_s(float(rounds * (n - 1)))
        )

    @property
    def block_messages(self) -> float:
        """All write to all others in every round of proposals and when they validate."""
        n = self.config.validators
        return (self.config.proposal_rounds + 1.0) * n * (n - 1)
