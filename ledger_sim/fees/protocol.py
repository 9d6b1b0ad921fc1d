"""Fee rule protocol, its data types and its registry."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypeVar

from pydantic import Field, ValidationError
from torch import Tensor

from gridbazaar.errors import LedgerError, UnknownNameError
from gridbazaar.ledger_sim import fees
from gridbazaar.ledger_sim.protocol import Part, describe_errors
from gridbazaar.registry import Registry


class FeeConfig(Part):
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
    """Carries the price of B environments from slot to slot."""

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


Builder = TypeVar("Builder", bound=Callable[[Any], FeeRule])
_RULES: Registry[Callable[[Any], FeeRule]] = Registry("fee rule")
_CONFIGS: dict[str, type[FeeConfig]] = {}


def fee_rule(name: str, config: type[FeeConfig]) -> Callable[[Builder], Builder]:
    """Class decorator: make a rule known as `name`, built from the validated `config` model."""

    def enter(builder: Builder) -> Builder:
        _RULES.register(name)(builder)
        _CONFIGS[name] = config
        return builder

    return enter


@cache
def _import_rules() -> None:
    for module in pkgutil.iter_modules(fees.__path__):
        importlib.import_module(f"{fees.__name__}.{module.name}")


def names() -> list[str]:
    """Return the registered rules."""
    _import_rules()
    return _RULES.names()


def config_of(rule: str) -> type[FeeConfig]:
    """Return the model that validates a rule; raises `UnknownNameError`."""
    _import_rules()
    _RULES[rule]
    return _CONFIGS[rule]


def make(raw: Mapping[str, Any]) -> FeeRule:
    """Build a rule from its mapping; raises `UnknownNameError` or `LedgerError` as ledgers do."""
    _import_rules()
    if "rule" not in raw:
        raise LedgerError(f"ledger.fees.rule is missing; it is one of {', '.join(names())}")
    model = config_of(str(raw["rule"]))
    for key in raw:
        if key not in model.model_fields:
            raise UnknownNameError(
                f"parameter of fee rule {raw['rule']!r}", key, model.model_fields
            )
    try:
        return _RULES[str(raw["rule"])](model.model_validate(dict(raw)))
    except ValidationError as error:
        raise LedgerError(describe_errors(error, "ledger.fees")) from error
