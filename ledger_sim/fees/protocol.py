"""Fee rule protocol, its data types and its registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import Field
from torch import Tensor

from gridbazaar.config import Config
from gridbazaar.registry import Registry


class FeeConfig(Config):
    """Parameters that all fee rules have; a rule adds its own."""

    rule: str = Field(description="registered rule")


@dataclass(frozen=True, slots=True)
class Usage:
    """Room taken in a slot's blocks.

    Attributes:
        gas: [B, K], room that this ledger's transactions took in each block.
        exists: bool [B, K], whether the environment has this block.
        waiting: [B], room that waits for a block at the slot's end.
        background: gas of others' traffic in each block.
        limit: gas of a full block; may be inf.
    """

    gas: Tensor
    exists: Tensor
    waiting: Tensor
    background: float
    limit: float


@dataclass(frozen=True, slots=True)
class Charge:
    """Price of gas in a slot's blocks, and after them.

    Attributes:
        price: [B, K], currency per gas in each block, or one number for all.
        now: [B], currency per gas after the slot, or one number for all.
    """

    price: Tensor | float
    now: Tensor | float


class FeeRule(Protocol):
    """Carries the price of B environments from slot to slot.

    A registered rule has its parameters' class as `Config` and is built from one.
    """

    burned_share: float  # of what it charges, 0 to 1; validators get the rest
    flat: float | None  # currency per gas where it never changes; such a rule needs no usage

    @property
    def state(self) -> Any:
        """What changes from slot to slot, never in place; None where nothing does."""

    @state.setter
    def state(self, state: Any) -> None: ...

    def reset(self, seed: Tensor) -> None:
        """Start a day; `seed` int64 [B]."""

    def charge(self, usage: Usage) -> Charge:
        """Price one slot's blocks."""


FEE_RULES: Registry[type[FeeRule]] = Registry("fee rule", "gridbazaar.ledger_sim.fees")


def make(values: Mapping[str, Any]) -> FeeRule:
    """Build a rule from its mapping; raises `UnknownNameError` or `ConfigError`."""
    config = FEE_RULES.configure(values, "ledger.fees", key="rule")
    kind: Any = FEE_RULES[config.rule]
    rule: FeeRule = kind(config)
    return rule
