"""Proof of work: a lottery by computing power, as in Bitcoin."""

from __future__ import annotations

import math
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.config import NonNegative
from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim.consensus.finality import Form, catch_up_probability
from gridbazaar.ledger_sim.consensus.propagation import gossip_hops, stale_share
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, LongestChain, exponential_times
from gridbazaar.ledger_sim.random_streams import OfSlot
from gridbazaar.ledger_sim.registry import LEDGERS


class ProofOfWorkConfig(ChainConfig):
    """Parameters of proof of work."""

    confirmations: int = Field(
        ge=0,
        description="blocks that must follow a block to make it final; bitcoin's count of "
        "confirmations is one more, the block itself",
        json_schema_extra={"unit": "blocks"},
    )
    attacker_share: float = Field(
        ge=0,
        le=1,
        description="of all power, that tries to overtake each settlement",
        json_schema_extra={"unit": "1"},
    )
    form: Form = Field(
        description="of the attacker's probability: exact, or poisson, the bitcoin paper's"
    )
    peers: int = Field(
        ge=1, description="to whom a node tells of a block", json_schema_extra={"unit": "1"}
    )
    block_bytes: NonNegative = Field(
        description="size of a full block", json_schema_extra={"unit": "B"}
    )
    work_bits: int = Field(
        default=0,
        ge=0,
        le=24,
        description="zero bits that hashes of recorded blocks begin with, found by nonces; "
        "2**bits hashes a block in an evaluation, none in a simulated day; 0: nothing is mined",
        json_schema_extra={"unit": "bit"},
    )


W = TypeVar("W", bound=ProofOfWorkConfig)


@LEDGERS.register("proof_of_work")
class ProofOfWork(LongestChain[W]):
    """Blocks at random times, final by depth: the longest chain of a lottery by computing power

    The difficulty holds the main chain's mean interval at the aim, so that all blocks together,
    stale ones included, come every interval less the delay. Half the power that falls silent halves
    the blocks for the day: bitcoin retargets after two weeks.
    """

    Config: ClassVar[type[Any]] = ProofOfWorkConfig

    def __init__(self, config: W) -> None:
        super().__init__(config)
        if self.commit_s >= self.aim_s:
            raise ConfigError(
                f"ledger.interval_s is {self.aim_s:g}, but a block takes "
                f"{self.commit_s:g} s to all nodes; it must take less, or no chain outgrows the "
                "forks: lower block_bytes or raise bandwidth_kbit_s"
            )

    @property
    def commit_s(self) -> float:
        """Return the delay D until all have a block, hop by hop."""
        config = self.config
        hop_s = config.network.delay_s(config.block_bytes)
        return gossip_hops(config.validators, config.peers) * hop_s

    @property
    def stale_share(self) -> float:
        """Share of all blocks found that another of the same height displaces."""
        return stale_share(self.commit_s, self.aim_s - self.commit_s)

    def wait_s(self, late_share: float) -> float:
        """Return the quantile of the exponential time between blocks."""
        return -math.log(late_share) * self.interval_s

    def draw_times(self, seed: Tensor, slot: int) -> Tensor:
        """Draw a Poisson process."""
        mean = self.config.slot_s / self.interval_s
        # Eight standard deviations and some: no slot has more blocks.
        most = math.ceil(mean + 8 * math.sqrt(mean) + 12)
        draws = randomness.uniform(
            randomness.fold(seed, slot), OfSlot.CONSENSUS, [most], torch.float64
        )
        times = exponential_times(draws, self.interval_s, self.config.slot_s)
        return times[:, : int(times.isfinite().sum(dim=1).max())]

    @property
    def confirmations(self) -> int:
        """As configured."""
        return self.config.confirmations

    @property
    def reversal_probability(self) -> float:
        """Probability that an attacker overtakes the block, or that it goes stale.

        The attacker's is after `finality.py`, the block itself counted. That the block goes
        stale with z blocks upon it takes z + 1 forks in a row, each as likely as the share of stale
        blocks (an assumption for z > 0).
        """
        config = self.config
        depth = config.confirmations + 1
        overtaken = float(catch_up_probability(config.attacker_share, depth, config.form))
        return 1 - (1 - overtaken) * (1 - self.stale_share**depth)

    @property
    def block_messages(self) -> float:
        """A block goes to each other node once."""
        return self.config.validators - 1.0
