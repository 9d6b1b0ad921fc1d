"""Votes on a proposer's block: how long they take on validators' links and processors."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from pydantic import Field, model_validator

from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Health, QuorumConsensus
from gridbazaar.ledger_sim.consensus.quorum import round_s
from gridbazaar.ledger_sim.gas_schedule import schedule_of


class VotingConfig(ChainConfig):
    """What ledgers that vote are given on top."""

    signature_s: NonNegative = Field(
        description="time in which a validator checks one signature",
        json_schema_extra={"unit": "s"},
    )
    round_timeout_s: NonNegative = Field(
        description="wait for a silent proposer until the next one takes its place",
        json_schema_extra={"unit": "s"},
    )

    @model_validator(mode="after")
    def _block_ends(self) -> VotingConfig:
        if self.block_gas == float("inf") and (
            self.network.bandwidth_kbit_s < float("inf") or self.signature_s
        ):
            raise ValueError(
                f"block_gas inf: to send it at {self.network.bandwidth_kbit_s} kbit/s and to check "
                f"it at {self.signature_s} s a signature takes for ever; give a limit"
            )
        return self

    @property
    def block_transactions(self) -> float:
        """Orders in a full block."""
        return self.block_gas / schedule_of(self.gas).order

    @property
    def block_bytes(self) -> float:
        """Size of a full block; 0 where sending takes no time."""
        if self.network.bandwidth_kbit_s == float("inf"):
            return 0.0
        return self.block_transactions * self.network.transaction_bytes

    def checks_s(self, messages: float) -> float:
        """Return the seconds in which a validator checks a full block and so many messages."""
        if not self.signature_s:
            return 0.0
        return self.signature_s * (self.block_transactions + messages)


V = TypeVar("V", bound=VotingConfig)


class Voting(QuorumConsensus[V]):
    """A proposer's block, then two rounds of votes of all to all; final with the second.

    A block takes the time of a full one whatever it holds, so that the pace can be kept up.

    Attributes:
        rotates: whether every block has another proposer, so that each silent one delays its own;
            else the first block after a fault finds a new one, and no more is lost.
    """

    rotates: ClassVar[bool] = True

    @property
    def commit_s(self) -> float:
        """Three phases on the network, and the checks of the block and of two rounds of votes."""
        config, network = self.config, self.config.network
        n = config.validators
        phases_s = round_s(
            network.delay_s(), n, config.block_bytes, network.message_bytes,
            network.bandwidth_kbit_s,
        )  # fmt: skip
        return phases_s + config.checks_s(2.0 * (n - 1))

    @property
    def block_messages(self) -> float:
        """A proposal to n - 1 others, then two rounds in which all n write to all others."""
        n = self.config.validators
        return (n - 1.0) * (2 * n + 1)

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Halt without a quorum; with one, wait a timeout for each proposer that fails.

        In n turns, n - s blocks come and s timeouts pass, where s are silent, lie or are cut off.
        """
        health = super().health(crashed, lying, cut_off)
        failing = crashed + lying + cut_off
        if not (self.rotates and health.final and health.safe):
            return health
        lost_s = self.config.round_timeout_s * failing / (self.config.validators - failing)
        return Health(block_share=self.interval_s / (self.interval_s + lost_s))
