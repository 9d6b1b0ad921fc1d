"""Tangle, confirmed by a coordinator's milestones or by the weight that grows on its graph."""

from __future__ import annotations

import math
from typing import Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import NonNegative
from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim.consensus.bounds import require
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus, Health, Tolerance
from gridbazaar.ledger_sim.consensus.tangle_graph import mean_weighed_s
from gridbazaar.ledger_sim.gas_schedule import schedule_of
from gridbazaar.ledger_sim.registry import LEDGERS

Number = TypeVar("Number", Tensor, float)

# A tangle in which less happens is taken for one in which so much does.
_LEAST_PER_S = 1e-3
_LEAST_S = 1e-6


def tips(rate_per_s: Number, delay_s: float) -> Number:
    """Return the mean number 2 lambda h of transactions that nothing approves yet.

    Popov, "The Tangle" (version 1.4.3, 2018), section 3, for high load and tips chosen at random.

    Args:
        rate_per_s: lambda, transactions that arrive.
        delay_s: h, from choosing what to approve until others see it.

    Raises:
        LedgerError: for a negative rate, or a delay that is not above 0.
    """
    require((rate_per_s >= 0) & (rate_per_s < math.inf), "rate_per_s", rate_per_s, "0 or more")
    require(0 < delay_s < math.inf, "delay_s", delay_s, "above 0 s")
    return 2 * delay_s * rate_per_s


class TangleConfig(ChainConfig):
    """Parameters of the tangle; the validators are the keys that sign milestones."""

    signatures: int = Field(
        ge=1, description="that make a milestone valid", json_schema_extra={"unit": "1"}
    )
    nodes: int = Field(ge=1, description="to whom milestones go", json_schema_extra={"unit": "1"})
    parents: int = Field(
        ge=1, le=8, description="tips that a milestone approves", json_schema_extra={"unit": "1"}
    )
    work_s: NonNegative = Field(
        description="of a sender's small proof of work", json_schema_extra={"unit": "s"}
    )
    confirmation: Literal["milestones", "weight"] = Field(
        default="milestones",
        description="milestones: a coordinator's word, at a fixed pace; weight: of the "
        "transactions that approve one, at the pace at which the market and others send",
    )
    choices: int = Field(
        default=2,
        ge=2,
        le=100,
        description="k, tips that each approves",
        json_schema_extra={"unit": "1"},
    )
    confirming_weight: int = Field(
        default=50,
        ge=1,
        le=10_000,
        description="transactions, its own included, that make one final",
        json_schema_extra={"unit": "1"},
    )


@LEDGERS.register("tangle")
class Tangle(Consensus[TangleConfig]):
    """Tangle: no blocks and no fee; final by a coordinator's milestone, or by weight that grows

    By default a milestone takes the place of a block. It refers to what others see of the tangle,
    and so to all tips where there are no more of them than it has parents; else a transaction must
    have been approved first. Times are those of Popov, "The Tangle" (2018), section 3, at the rate
    of `background_gas_per_s`: the market's own load changes no wait.

    With `confirmation: weight` there is no coordinator. Each transaction approves `choices` tips
    drawn from those that it sees, and is final when `confirming_weight` transactions stand behind
    it. How long that takes is measured on graphs that are grown at the rate at which others and the
    market send in a slot, `gridbazaar.ledger_sim.consensus.tangle_graph`, and so falls with the
    load. `interval_s` is then the tick at which transactions are seen.
    """

    Config = TangleConfig

    permission = "none"
    decentralisation = "low"

    def __init__(self, config: TangleConfig) -> None:
        super().__init__(config)
        if config.signatures > config.validators:
            raise ConfigError(
                f"ledger.signatures is {config.signatures} of ledger.validators "
                f"{config.validators}; allowed is 1 to {config.validators}"
            )
        self._weighed: dict[int, float] = {}  # mean time to the weight, by half octaves of rate

    @property
    def hidden_s(self) -> float:
        """Return h, from choosing what to approve until others see it."""
        network = self.config.network
        return self.config.work_s + network.delay_s(network.transaction_bytes)

    @property
    def commit_s(self) -> float:
        """Return the mean time from sending until a milestone can refer to a transaction."""
        rate, hidden_s = self.config.background_gas_per_s, self.hidden_s
        if self.config.confirmation == "weight":
            return hidden_s
        if not (rate and hidden_s):
            return hidden_s
        unapproved = tips(rate, hidden_s)
        if unapproved <= self.config.parents:
            return hidden_s
        return hidden_s + unapproved / (2 * rate)

    @property
    def tolerance(self) -> Tolerance:
        """What the threshold of signatures leaves; without a coordinator, less than half."""
        n = self.config.validators
        if self.config.confirmation == "weight":
            return Tolerance(n - 1, (n - 1) // 2, "a majority of liars outgrows the honest tangle")
        return Tolerance(
            self.config.validators - self.config.signatures,
            self.config.signatures - 1,
            "without the coordinator's signatures there is no milestone, and nothing is final; "
            "who holds them decides alone",
        )

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Halt without enough signatures; without a coordinator, go on while anyone is there."""
        if self.config.confirmation == "weight":
            n = self.config.validators
            left = n - crashed - cut_off
            return Health(float(left > 0), left > lying, 2 * lying < n and 2 * cut_off < n)
        there = self.config.validators - crashed - cut_off
        return Health(
            block_share=float(there >= self.config.signatures),
            final=there - lying >= self.config.signatures,
            safe=lying < self.config.signatures,
        )

    def confirmation_s(self, orders_per_s: Tensor) -> Tensor | float:
        """Return how long after it is seen a transaction has its weight, [B] s."""
        if self.config.confirmation == "milestones":
            return 0.0
        others_per_s = self.config.background_gas_per_s / schedule_of(self.config.gas).order
        rate = (orders_per_s.double() + others_per_s).clamp(min=_LEAST_PER_S)
        place = rate.log2() * 2
        lower = place.floor()
        points = sorted({int(p) for p in torch.cat([lower, lower + 1]).tolist()})
        known = rate.new_tensor([self._weighed_s(point) for point in points])
        index = torch.searchsorted(rate.new_tensor(points), lower)
        part = place - lower
        between = known[index] * (1 - part) + known[index + 1] * part
        return (between - self.hidden_s).clamp(min=0)

    def _weighed_s(self, half_octaves: int) -> float:
        """Return the mean time to the weight at a rate of 2^(half_octaves / 2) per second."""
        if half_octaves not in self._weighed:
            rate, config = 2 ** (half_octaves / 2), self.config
            self._weighed[half_octaves] = mean_weighed_s(
                rate, max(self.hidden_s, _LEAST_S), config.choices, config.confirming_weight
            )
        return self._weighed[half_octaves]

    @property
    def block_messages(self) -> float:
        """Signatures come in to the coordinator, and the milestone goes to all nodes.

        Without a coordinator, one message from node to node in a tick, to all of them.
        """
        if self.config.confirmation == "weight":
            return self.config.nodes - 1.0
        return self.config.signatures + self.config.nodes - 1.0
