"""Programme of incentives: the schemes of a world side by side, and their books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.incentives.protocol import INCENTIVES, Incentive, Movement
from gridbazaar.envs.incentives.reading import Reading
from gridbazaar.errors import ConfigError


class SchemeState(NamedTuple):
    """State of one scheme: [B, N] held of each good, and what the scheme remembers."""

    held: dict[str, Tensor]
    memory: dict[str, Tensor]


@dataclass(frozen=True)
class Rewarded:
    """What all schemes did in an interval.

    Attributes:
        payment_eur: [B, N] that seats received, by all schemes together.
        by_scheme: [B, N] EUR of each.
        movements: of each good, called `scheme.good`.
        held: [B, N] units of each good at the interval's end.
    """

    payment_eur: Tensor
    by_scheme: dict[str, Tensor]
    movements: dict[str, Movement]
    held: dict[str, Tensor]


class Books(NamedTuple):
    """State of all schemes, and the transactions [B] that wait for the next interval's ledger."""

    schemes: tuple[SchemeState, ...]
    due: Tensor


class Programme:
    """Any number of schemes, none of which knows the others.

    Args:
        schemes: by name, in the order in which they are booked.
    """

    def __init__(self, schemes: Mapping[str, Incentive]):
        self.schemes = dict(schemes)

    def begin(self, like: Tensor) -> Books:
        """Return the books as a day begins: nothing is held; `like` is [B, N]."""
        states = tuple(
            SchemeState({good: torch.zeros_like(like) for good in scheme.goods}, scheme.begin(like))
            for scheme in self.schemes.values()
        )
        return Books(states, torch.zeros_like(like[:, 0]))

    def settle(self, books: Books, reading: Reading) -> tuple[Rewarded, Books]:
        """Let every scheme act on an interval's reading; return what they did, and the books."""
        total, due = torch.zeros_like(reading.pv_kwh), torch.zeros_like(reading.pv_kwh[:, 0])
        after: list[SchemeState] = []
        paid: dict[str, Tensor] = {}
        movements: dict[str, Movement] = {}
        holdings: dict[str, Tensor] = {}
        for (name, scheme), state in zip(self.schemes.items(), books.schemes, strict=True):
            outcome = scheme.settle(state.held, state.memory, reading)
            held = {good: outcome.movements[good].held(state.held[good]) for good in scheme.goods}
            after.append(SchemeState(held, outcome.memory))
            if scheme.on_ledger:
                moves = torch.stack([m.moves for m in outcome.movements.values()]).any(0)
                due = due + moves.sum(-1)
            total = total + outcome.payment_eur
            paid[name] = outcome.payment_eur
            movements |= {f"{name}.{good}": outcome.movements[good] for good in scheme.goods}
            holdings |= {f"{name}.{good}": amount for good, amount in held.items()}
        return Rewarded(total, paid, movements, holdings), Books(tuple(after), due)


def make_programme(chosen: Sequence[str | Mapping[str, Any]]) -> Programme:
    """Build the schemes of a world from their names and parameters.

    Args:
        chosen: of each, `name` and all parameters, as a YAML of configs/incentive/ gives them, or
            the name alone of one without any.

    Raises:
        UnknownNameError: for an unknown scheme, with the nearest known one.
        ConfigError: for unknown, missing or impossible parameters, with path and value, and for a
            scheme that is named twice.
    """
    schemes: dict[str, Incentive] = {}
    for number, each in enumerate(chosen):
        values = {"name": each} if isinstance(each, str) else each
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"incentives[{number}] is {each!r}: expected a name, or name and parameters"
            )
        where = f"incentives.{values['name']}" if "name" in values else f"incentives[{number}]"
        config = INCENTIVES.configure(values, where)
        if config.name in schemes:
            raise ConfigError(f"incentives name {config.name!r} twice; leave one out")
        kind: Any = INCENTIVES[config.name]
        schemes[config.name] = kind(config)
    return Programme(schemes)
