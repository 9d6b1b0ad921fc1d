"""Tangle with milestones, as IOTA's Chrysalis."""

from __future__ import annotations

import math
from typing import TypeVar

from pydantic import Field
from torch import Tensor

from gridbazaar.config import NonNegative
from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim.consensus.bounds import require
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus, Health, Tolerance
from gridbazaar.ledger_sim.registry import LEDGERS

Number = TypeVar("Number", Tensor, float)


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
        ge=1, description="tips that a milestone approves", json_schema_extra={"unit": "1"}
    )
    work_s: NonNegative = Field(
        description="of a sender's small proof of work", json_schema_extra={"unit": "s"}
    )


@LEDGERS.register("tangle")
class Tangle(Consensus[TangleConfig]):
    """Tangle, timed: waits by formula; final once a coordinator's milestone refers to it

    A milestone takes the place of a block. It refers to what others see of the tangle, and so to
    all tips where there are no more of them than it has parents; else a transaction must have been
    approved first. Times are those of Popov, "The Tangle" (2018), section 3; `background_gas_per_s`
    is its rate: no graph is drawn, no tip chosen, and the market's own load changes no wait.
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

    @property
    def hidden_s(self) -> float:
        """Return h, from choosing what to approve until others see it."""
        network = self.config.network
        return self.config.work_s + network.delay_s(network.transaction_bytes)

    @property
    def commit_s(self) -> float:
        """Return the mean time from sending until a milestone can refer to a transaction."""
        rate, hidden_s = self.config.background_gas_per_s, self.hidden_s
        if not (rate and hidden_s):
            return hidden_s
        unapproved = tips(rate, hidden_s)
        if unapproved <= self.config.parents:
            return hidden_s
        return hidden_s + unapproved / (2 * rate)

    @property
    def tolerance(self) -> Tolerance:
        """What the threshold of signatures leaves."""
        return Tolerance(
            self.config.validators - self.config.signatures,
            self.config.signatures - 1,
            "without the coordinator's signatures there is no milestone, and nothing is final; "
            "who holds them decides alone",
        )

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Halt without enough signatures."""
        there = self.config.validators - crashed - cut_off
        return Health(
            block_share=float(there >= self.config.signatures),
            final=there - lying >= self.config.signatures,
            safe=lying < self.config.signatures,
        )

    @property
    def block_messages(self) -> float:
        """Signatures come in to the coordinator, and the milestone goes to all nodes."""
        return self.config.signatures + self.config.nodes - 1.0
