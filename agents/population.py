"""Population in words: which bidder plays which seats, as `{default: truthful, ev: runs/x}`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from gridbazaar.errors import ConfigError, UnknownNameError
from gridbazaar.sourced import StrictLoader

DEFAULT = "default"
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%(?:\s+(\w+))?")
_EXAMPLE = "{default: truthful, ev: own_use, prosumer_3: runs/demo}"


class Population(NamedTuple):
    """Who plays whom.

    Attributes:
        default: the bidder of all seats that no part names.
        parts: pairs of seats and their bidder. Seats are those of a name (`prosumer_3`), of a role
            (`ev`), or a share of all or of a role (`50%`, `50% ev`).
    """

    default: str
    parts: tuple[tuple[str, str], ...]

    @property
    def words(self) -> str:
        """Return the words that mean this population, always the same."""
        pairs = ((DEFAULT, self.default), *self.parts)
        return f"{{{', '.join(f'{seats}: {bidder}' for seats, bidder in pairs)}}}"

    @property
    def bidders(self) -> tuple[str, ...]:
        """Return each bidder once, the default first."""
        return tuple(dict.fromkeys((self.default, *(bidder for _, bidder in self.parts))))

    def assign(self, seats: Sequence[str]) -> list[str]:
        """Return the bidder of each seat; of two parts that name it, the narrower one counts.

        A share takes seats evenly spaced among those of each role: of 50 %, every other one.

        Args:
            seats: names, `<role>_<number>`, those of a role in a row.

        Raises:
            UnknownNameError: a part names a seat or role that is not there; gives the nearest.
        """
        by_role: dict[str, list[int]] = {}
        for number, seat in enumerate(seats):
            by_role.setdefault(seat.rpartition("_")[0], []).append(number)
        chosen = [self.default] * len(seats)
        for key, bidder in sorted(self.parts, key=lambda part: _narrowness(part[0], seats)):
            for number in _named(key, seats, by_role):
                chosen[number] = bidder
        return chosen


def is_population(bidder: Any) -> bool:
    """Return whether a bidder is given as a population, in words or as a mapping."""
    return isinstance(bidder, Mapping) or str(bidder).lstrip().startswith("{")


def parse(given: str | Mapping[str, Any]) -> Population:
    """Return the population that words or a mapping mean.

    Raises ConfigError where they name no default, a seat twice, or a share beyond 100 %.
    """
    try:
        values = yaml.load(given, StrictLoader) if isinstance(given, str) else given
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())
        raise ConfigError(f"bidder {given!r}: {what}; expected words as {_EXAMPLE}") from None
    if not isinstance(values, Mapping) or DEFAULT not in values:
        raise ConfigError(
            f"bidder {given!r} says not who plays by default; expected words as {_EXAMPLE}"
        )
    for key, bidder in values.items():
        if not isinstance(bidder, str) or not bidder or is_population(bidder):
            raise ConfigError(
                f"bidder {given!r} has {bidder!r} for {key}; expected the name of a bidder or a "
                f"folder, as in {_EXAMPLE}"
            )
        share = _SHARE.fullmatch(str(key))
        if share and not 0 < float(share[1]) <= 100:
            raise ConfigError(f"bidder {given!r} has {key}; expected a share of 0 to 100 %")
    parts = ((str(key), str(values[key])) for key in values if key != DEFAULT)
    return Population(str(values[DEFAULT]), tuple(parts))


def _narrowness(key: str, seats: Sequence[str]) -> int:
    share = _SHARE.fullmatch(key)
    if share:
        return 2 if share[2] else 0
    return 3 if key in seats else 1


def _named(key: str, seats: Sequence[str], by_role: Mapping[str, list[int]]) -> list[int]:
    """Return the numbers of the seats that a part's words name."""
    share = _SHARE.fullmatch(key)
    role = share[2] if share else key
    if key in seats:
        return [list(seats).index(key)]
    if role is not None and role not in by_role:
        raise UnknownNameError("seat or role", role, (*by_role, *seats))
    named = list(by_role.values()) if role is None else [by_role[role]]
    if share is None:
        return named[0]
    return [number for group in named for number in _spread(group, float(share[1]) / 100)]


def _spread(numbers: Sequence[int], share: float) -> list[int]:
    """Return a share of the numbers, rounded, evenly spaced."""
    count = round(share * len(numbers))
    return [numbers[(2 * k + 1) * len(numbers) // (2 * count)] for k in range(count)]
