"""Methods that propose responses; the search alone says which of them gain, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from gridbazaar.evaluation.deviations import Arena, Response
from gridbazaar.registry import Registry


class Method(Protocol):
    """Proposes what a coalition may play instead; knows the days to choose on, and no others."""

    def __call__(self, arena: Arena, coalition: tuple[int, ...], days: Tensor) -> list[Response]:
        """Return responses, each worth a try.

        Args:
            arena: the world, its bidder and its seats.
            coalition: numbers of the seats that deviate together.
            days: [D] first slots of the days to choose on.
        """
        ...


BEST_RESPONSES: Registry[Method] = Registry("best response", "gridbazaar.evaluation.best_responses")


def propose(
    names: Sequence[str], arena: Arena, coalition: tuple[int, ...], days: Tensor
) -> list[Response]:
    """Return what the named methods propose; what is no method is a bidder to play instead."""
    found = []
    for name in names:
        if name in BEST_RESPONSES:
            found += BEST_RESPONSES[name](arena, coalition, days)
        elif set(coalition) <= arena.played_by(name):
            found.append(Response(f"plays as {name}", bidder=name))
    return found
