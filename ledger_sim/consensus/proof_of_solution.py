"""Proof of Solution: a proposer solves the market's problem, and the others check its solution."""

from __future__ import annotations

from pydantic import Field, model_validator
from torch import Tensor

from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim.consensus.quorum import faults_tolerated, pbft_messages
from gridbazaar.ledger_sim.consensus.voting import Voting, VotingConfig
from gridbazaar.ledger_sim.proposals import Asked, Proposals, draw_proposals
from gridbazaar.ledger_sim.registry import LEDGERS

_WS_PER_KWH = 3.6e6


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
    asked: Asked = Field(
        description="of a proposed clearing. none: the proposer's word is taken; feasible: it can "
        "be carried out and nobody trades at a loss; optimal: besides, the residuals of the "
        "optimality conditions vanish"
    )
    dishonest_solvers: int = Field(
        ge=0,
        description="validators that propose a wrong clearing in their turn",
        json_schema_extra={"unit": "1"},
    )
    reward: NonNegative = Field(
        description="that the market pays to whose clearing is settled, for each interval",
        json_schema_extra={"unit": "EUR"},
    )

    @model_validator(mode="after")
    def _honest_quorum(self) -> ProofOfSolutionConfig:
        most = faults_tolerated(self.validators)
        if self.dishonest_solvers > most:
            raise ValueError(
                f"dishonest_solvers is {self.dishonest_solvers} of {self.validators} validators; "
                f"at most {most} leave a quorum that refuses; more are faults: give faults.lying"
            )
        return self


@LEDGERS.register("proof_of_solution")
class ProofOfSolution(Voting[ProofOfSolutionConfig]):
    """Proof of Solution: the proposer clears, all others check by residuals, PBFT's vote decides

    Chen, Mi, Ping et al., "A blockchain consensus mechanism that uses Proof of Solution to optimize
    energy dispatch and trading", Nature Energy 7, 2022: a solution is hard to find but easy to
    verify. Every interval's clearing is checked (`gridbazaar.envs.clearing_check`); a wrong one is
    refused, at the cost of its block's time, and the next in turn proposes. The reward is for whose
    clearing is settled. Every block counts as one that holds a solution, so that none is empty.
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

    def proposals(self, seed: Tensor, slot: int) -> Proposals | None:
        """Let validators propose in turn until one is honest."""
        config = self.config
        return draw_proposals(
            seed, slot, config.validators, config.dishonest_solvers, config.asked, contest=False
        )

    @property
    def refused_s(self) -> float:
        """Solved, sent, checked and voted down: as long as a block that is agreed on."""
        return self.commit_s if self.config.dishonest_solvers else 0.0

    @property
    def refused_kwh(self) -> float:
        """The solver's power while it solved; nodes run anyway."""
        return self.config.solver_power_w * self.config.solve_s / _WS_PER_KWH

    @property
    def solver_reward(self) -> float:
        """As configured."""
        return self.config.reward
