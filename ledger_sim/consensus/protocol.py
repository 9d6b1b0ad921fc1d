"""Consensus protocol: block times, finality, tolerated faults, messages and energy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from gridbazaar.config import Config, NonNegative, bounded
from gridbazaar.ledger_sim.consensus.accounts import ValidatorAccounts
from gridbazaar.ledger_sim.consensus.faults import FaultEvent, check_faults
from gridbazaar.ledger_sim.consensus.income import IncomeConfig, check_accounts
from gridbazaar.ledger_sim.consensus.propagation import propagation_s
from gridbazaar.ledger_sim.protocol import LedgerConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class NetworkConfig(Config):
    """Parameters of the network between validators, and from senders to them."""

    latency_s: NonNegative = Field(
        description="mean one-way delay between two nodes, but for the way through the fibre",
        json_schema_extra={"unit": "s"},
    )
    distance_km: NonNegative = Field(
        description="mean length of fibre between two nodes; 0 where latency_s holds its time too",
        json_schema_extra={"unit": "km"},
    )
    bandwidth_kbit_s: float = Field(
        gt=0, allow_inf_nan=True, description="of one node", json_schema_extra={"unit": "kbit/s"}
    )
    transaction_bytes: NonNegative = Field(
        description="size of a signed transaction", json_schema_extra={"unit": "B"}
    )
    message_bytes: NonNegative = Field(
        description="size of a vote or block header", json_schema_extra={"unit": "B"}
    )
    submission_delay_s: NonNegative = Field(
        description="mean of the exponential delay from sender to mempool",
        json_schema_extra={"unit": "s"},
    )

    def delay_s(self, size_bytes: float = 0.0) -> float:
        """Return the mean one-way delay of so many bytes from one node to another."""
        fibre_s = propagation_s(size_bytes, self.bandwidth_kbit_s, self.distance_km, hops=1)
        return self.latency_s + fibre_s


class ChainConfig(LedgerConfig):
    """Parameters that all ledgers made of blocks have; a consensus adds its own."""

    validators: Annotated[
        int, bounded(1, 1e7, "validators", "ten times Ethereum's; quorums of more take minutes")
    ] = Field(ge=1, description="n", json_schema_extra={"unit": "1"})
    interval_s: float = Field(
        ge=1e-3,
        description="between blocks, as the protocol aims at",
        json_schema_extra={"unit": "s"},
    )
    gas: Literal["unit", "evm"] = Field(
        description="unit: every transaction takes 1; evm: as measured on an Ethereum machine"
    )
    block_gas: float = Field(
        ge=1, allow_inf_nan=True, description="limit of a block", json_schema_extra={"unit": "gas"}
    )
    background_gas_per_s: NonNegative = Field(
        description="of others' traffic, served first", json_schema_extra={"unit": "gas/s"}
    )
    queue: Literal["fifo", "tip"] = Field(
        description="fifo: by arrival, tips are not charged; tip: highest first, then by arrival"
    )
    fees: dict[str, Any] = Field(description="rule and its parameters, see ledger_sim/fees")
    network: NetworkConfig = Field(description="between validators, and from senders to them")
    node_power_w: NonNegative = Field(
        description="of one validator", json_schema_extra={"unit": "W"}
    )
    transaction_energy_kwh: NonNegative | None = Field(
        description="published figure; null: n x power / throughput at the simulated load",
        json_schema_extra={"unit": "kWh"},
    )
    faults: list[FaultEvent] = Field(
        description="outages, lies and partitions in the day, one after the other"
    )
    income: IncomeConfig | None = Field(
        default=None,
        description="block reward and an account of each validator; null: no reward, and one sum",
    )

    @model_validator(mode="after")
    def _has_room(self) -> ChainConfig:
        if self.block_gas != self.block_gas or self.room_gas <= 0:
            raise ValueError(
                f"background_gas_per_s {self.background_gas_per_s} x interval_s {self.interval_s} "
                f"fills block_gas {self.block_gas}; it must leave room in the blocks"
            )
        check_faults(self.faults, self.validators)
        if self.income is not None:
            check_accounts(self.validators)
        return self

    @property
    def room_gas(self) -> float:
        """Gas per block that the background leaves; may be inf."""
        return self.block_gas - self.background_gas_per_s * self.interval_s


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Number of the n validators that may fail; shares of power count as validators of equal power.

    Attributes:
        crashed: may be silent, and the ledger still goes on and becomes final.
        lying: may say anything, and no final block is lost.
        beyond: what happens when more fail, one line.
    """

    crashed: int
    lying: int
    beyond: str


@dataclass(frozen=True, slots=True)
class Health:
    """Service that is left of a ledger while faults last.

    Attributes:
        block_share: of its blocks, 0 (halted) to 1.
        final: whether blocks still become final.
        safe: whether what is written then stands.
    """

    block_share: float = 1.0
    final: bool = True
    safe: bool = True


C = TypeVar("C", bound=ChainConfig)
Permission = Literal["none", "permissioned", "both"]
Spread = Literal["low", "medium", "high"]


class Consensus(ValidatorAccounts, ABC, Generic[C]):
    """One way for validators to agree.

    A subclass says how blocks come (by default by the clock), when they are final and what faults
    do. All is fixed by the configuration and the seed.

    Attributes:
        Config: its parameters; a consensus is built from one.
        minimum_validators: fewest that the protocol works with.
        permission: who may validate.
        decentralisation: how power is spread: low, medium or high.
        empty_blocks: whether validators agree on a block though there is nothing to put in.
    """

    Config: ClassVar[type[Any]] = ChainConfig
    minimum_validators: ClassVar[int] = 1
    permission: ClassVar[Permission] = "both"
    decentralisation: ClassVar[Spread] = "medium"
    empty_blocks: ClassVar[bool] = True

    def __init__(self, config: C) -> None:
        self.config = config

    @property
    def aim_s(self) -> float:
        """Seconds between blocks that the protocol aims at."""
        return self.config.interval_s

    @property
    def interval_s(self) -> float:
        """Mean seconds between blocks: the aim, or what the network allows where that is longer."""
        return max(self.aim_s, self.commit_s)

    @property
    def block_gas(self) -> float:
        """Gas that a block, `interval_s` after the last, has room for; may be inf."""
        return self.config.block_gas

    @property
    def node_power_w(self) -> float:
        """Mean power of one validator, W."""
        return self.config.node_power_w

    @property
    def commit_s(self) -> float:
        """Seconds from a block's proposal, when it takes transactions, until all have it."""
        return 0.0

    def wait_s(self, late_share: float) -> float:
        """Return the wait for a block that all but a share of moments stay below, without faults.

        By the clock, no moment waits longer than the interval.
        """
        return self.interval_s

    def draw_times(self, seed: Tensor, slot: int) -> Tensor | None:
        """Return the times of a slot's blocks as float64 [B, K], seconds since the slot's start.

        Times are in (0, slot_s], inf where there is no block, in any order; `seed` int64 [B] is the
        day's. None stands for a block at every multiple of `interval_s`.
        """
        return None

    @property
    def confirmations(self) -> int:
        """Blocks that must follow a block to make it final."""
        return 0

    def final_s(self, block_s: Tensor) -> Tensor:
        """Return when a block is final that its confirmations follow until `block_s`.

        Times are seconds since the day's start, [B]; at once, by default.
        """
        return block_s

    def confirmation_s(self, orders_per_s: Tensor) -> Tensor | float:
        """Return how much later all is final where that follows the load, [B] s or one for all.

        `orders_per_s` [B] is what the market's accounts send in a slot.
        """
        return 0.0

    @property
    def reversal_probability(self) -> float:
        """Probability that a slot's settlement is lost after it counted as final."""
        return 0.0

    @property
    @abstractmethod
    def tolerance(self) -> Tolerance:
        """How many validators may fail, and what happens beyond."""

    @abstractmethod
    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Return what is left when so many validators are silent, lie, or cannot be reached."""

    @property
    @abstractmethod
    def block_messages(self) -> float:
        """Messages that validators exchange for a block."""


class QuorumConsensus(Consensus[C]):
    """Final at once by votes of 2f + 1 of n validators; halts when they are not there."""

    minimum_validators = 4
    permission: ClassVar[Permission] = "permissioned"

    @property
    def quorum(self) -> int:
        """Votes that a block needs."""
        n = self.config.validators
        return n - (n - 1) // 3

    @property
    def tolerance(self) -> Tolerance:
        """Less than a third."""
        f = self.config.validators - self.quorum
        return Tolerance(f, f, "no quorum: the ledger halts; more liars may commit two blocks")

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Halt without a quorum; unsafe where more than f lie in one, who then go on as they like.

        Liars that are too few to reach a quorum with those that are there cannot write anything.
        """
        reachable = self.config.validators - crashed - cut_off
        live = reachable - lying >= self.quorum
        safe = lying <= self.tolerance.lying or reachable < self.quorum
        return Health(block_share=float(live or not safe), final=live, safe=safe)


class LongestChain(Consensus[C]):
    """The longest or heaviest chain holds; blocks may be overtaken until enough others follow."""

    permission: ClassVar[Permission] = "none"
    decentralisation: ClassVar[Spread] = "high"

    @property
    def tolerance(self) -> Tolerance:
        """Less than half."""
        f = (self.config.validators - 1) // 2
        return Tolerance(f, f, "a majority of liars rewrites the chain; crashes slow it down")

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Go on with fewer blocks; what a minority or under a majority of liars writes is lost."""
        n = self.config.validators
        share = (n - crashed - cut_off) / n
        safe = 2 * lying < n and 2 * cut_off < n
        return Health(block_share=max(share, 0.0), final=share > 0, safe=safe)


def consensus_of(config: ChainConfig) -> Consensus[Any]:
    """Return the consensus of a validated chain's configuration."""
    kind: Any = LEDGERS[config.name]
    consensus: Consensus[Any] = kind(config)
    return consensus


def exponential_times(draws: Tensor, interval_s: float, slot_s: float) -> Tensor:
    """Return the times of a Poisson process in one slot, from uniform draws [B, K].

    K must be so large that the process passes the slot's end; memoryless, it starts anew in each.
    """
    times = draws.log().mul_(-interval_s).cumsum(1)
    return times.masked_fill_(times > slot_s, torch.inf)
