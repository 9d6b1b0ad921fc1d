"""Words of several runs in Hydra's own grammar of sweeps: `lr=1e-3,3e-3`, `seed=range(0,5)`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from gridbazaar.errors import ConfigError


def parsed(words: Sequence[str]) -> dict[str, Override]:
    """Return words by their key, as Hydra's grammar reads them; of a key given twice the last.

    Raises:
        ConfigError: a word is no override.
    """
    found = {}
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            what = " ".join(str(error).split("\n", 1)[0].split())
            raise ConfigError(f"{word!r} cannot be read: {what}") from None
        found[str(override.key_or_group)] = override
    return found


def points(words: Sequence[str]) -> list[list[str]]:
    """Return the words of every point of a sweep: all combinations of the values of all keys.

    Raises:
        ConfigError: a word is no override, or an interval, which has no single values.
    """
    overrides = list(parsed(words).values())
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise ConfigError(
                f"{override.input_line!r} has no single values to try: list some, as in "
                f"{override.key_or_group}=1,2, or let --tune draw them"
            )
    combined: list[list[str]] = BasicSweeper.split_arguments(overrides, None)[0]
    return combined


def swept(words: Sequence[str]) -> list[str]:
    """Return the keys that have several values, in the order of the words."""
    return [key for key, override in parsed(words).items() if override.is_sweep_override()]


def seed_of(words: Sequence[str], default: int = 0) -> int:
    """Return the seed that words name, else the default; raises ConfigError unless it is whole."""
    override = parsed(words).get("seed")
    value = default if override is None else override.value()
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"seed is {value!r}: expected a whole number from 0")
    return value


def label(values: Mapping[str, Any]) -> str:
    """Return a folder's name for a point: `lr_0.001-market_pay_as_bid`; the last of equal ends."""
    ends = [key.rpartition(".")[2] for key in values]
    names = [end if ends.count(end) == 1 else key for key, end in zip(values, ends, strict=True)]
    text = "-".join(f"{name}_{value}" for name, value in zip(names, values.values(), strict=True))
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_.-")


def word(key: str, text: str) -> str:
    """Return an override whose value is any text, quoted as Hydra's grammar asks."""
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)
    return f"{key}='{escaped}'"
