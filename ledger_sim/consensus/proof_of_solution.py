"""Proof of Solution as time: a vote that waits for solving and checking a market."""

from __future__ import annotations

from pydantic import Field

from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim.consensus.quorum import pbft_messages
from gridbazaar.ledger_sim.consensus.voting import Voting, VotingConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class ProofOfSolutionConfig(VotingConfig):
    """Parameters of Proof of Solution; sources are in configs/ledger/proof_of_solution.yaml."""

    solve_s: NonNegative = Field(
        description="in which the proposer solves the market's problem",
        json_schema_extra={"unit": "s"},
    )
    verify_s: NonNegative = Field(
        description="in which a validator checks that the solution is optimal",
        json_schema_extra={"unit": "s"},
    )
    solver_power_w: NonNegative = Field(
        description="of the proposer on top of a validator's while it solves",
        json_schema_extra={"unit": "W"},
    )


@LEDGERS.register("proof_of_solution")
class ProofOfSolution(Voting[ProofOfSolutionConfig]):
    """Proof of Solution, timed: PBFT's vote, later by solving and checking; nothing is checked

    Chen, Mi, Ping et al., "A blockchain consensus mechanism that uses Proof of Solution to optimize
    energy dispatch and trading", Nature Energy 7, 2022: a solution is hard to find but easy to
    verify. Here both take the configured times and no more: no clearing is checked, so that a wrong
    one can be neither proposed nor refused. The vote is PBFT's. Every block counts as one that
    holds a solution, so that none is empty.
    """

    Config = ProofOfSolutionConfig

    @property
    def node_power_w(self) -> float:
        """A validator's, and its share of the proposer's while it solves."""
        config = self.config
        # The energy account knows one power per validator; the proposer's solving is spread out.
        spread = config.solve_s / self.interval_s / config.validators
        return config.node_power_w + config.solver_power_w * spread

    @property
    def commit_s(self) -> float:
        """Solve, then agree, then verify, all validators side by side."""
        return super().commit_s + self.config.solve_s + self.config.verify_s

    @property
    def block_messages(self) -> float:
        """As PBFT's; the solution is in the block."""
        return float(pbft_messages(self.config.validators))
