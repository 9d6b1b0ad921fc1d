"""Presets: whole settings under one name, as the words of a command line that they stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gridbazaar.configs.search_path import options, path_of
from gridbazaar.configs.sweep import word
from gridbazaar.errors import ConfigError, nearest
from gridbazaar.sourced import read_yaml

GROUP, DESCRIPTION = "preset", "description"
# What a preset may set, by itself or below; who bids is no matter of a world or a training.
_SETS = ("task", "tariff", "market", "ledger", "incentives", "bidder")
BIDDER = "bidder"
# Their parameters are of the one that is chosen, and go with it; a task's rules are of all tasks.
_OWN_PARAMETERS = ("market", "ledger")


def read_preset(name: str) -> dict[str, Any]:
    """Return what a preset sets by the key of its word, and its `description`.

    Raises:
        UnknownNameError: there is no such preset; gives the nearest.
        ConfigError: its YAML is none, lacks a description, or sets what a preset cannot.
    """
    path = path_of(GROUP, name)
    values = read_yaml(path)
    if not isinstance(values.get(DESCRIPTION), str):
        raise ConfigError(f"{path} lacks its description; add a line to the YAML")
    for key in values:
        if key != DESCRIPTION and re.split("[.@]", key)[0] not in _SETS:
            raise ConfigError(f"{path} sets {key!r}, which a preset cannot; {nearest(key, _SETS)}")
    return values


def descriptions() -> dict[str, str]:
    """Return each preset's description by its name."""
    return {name: read_preset(name)[DESCRIPTION] for name in options(GROUP)}


def expand(words: Sequence[str], without: Sequence[str] = ()) -> tuple[str, ...]:
    """Return words in which those of a preset stand in the place of `preset=<name>`.

    `preset=null` is none, as in a sweep that compares presets with the default. Whatever else the
    words say wins: a preset's word is left out where its key is given, and a parameter of its
    market or ledger where another one is chosen.

    Args:
        words: of a command line.
        without: keys of a preset that do not count here.

    Raises:
        ConfigError: several presets are named, or as `read_preset`.
        UnknownNameError: there is no such preset; gives the nearest.
    """
    own = [each for each in words if each.partition("=")[0].lstrip("+") != GROUP]
    named = [each.partition("=")[2].strip("'\"") for each in words if each not in own]
    if not named:
        return tuple(words)
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)} are several presets; name one of them")
    if named[0] == "null":
        return tuple(own)
    values = read_preset(named[0])
    given = {key.lstrip("+~"): value for key, _, value in (w.partition("=") for w in own)}
    kept = [
        f"{key}={_as_word(value)}"
        for key, value in values.items()
        if key not in (DESCRIPTION, *without) and not _overruled(key, values, given)
    ]
    return (*kept, *own)


def _overruled(key: str, values: dict[str, Any], given: dict[str, str]) -> bool:
    """Tell whether given words take a preset's word away."""
    parts = key.split(".")
    if any(".".join(parts[:n]) in given for n in range(2, len(parts) + 1)):
        return True
    group = parts[0]
    if len(parts) == 1 or group not in given:
        return key in given
    chosen = re.findall(r"\w+", given[group])
    return group in _OWN_PARAMETERS and str(values.get(group)) not in chosen


def _as_word(value: Any) -> str:
    """Return a value as Hydra's grammar has it."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_as_word(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_as_word, value))}]"
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_][\w./-]*", value)
        return value if plain else word("", value).removeprefix("=")
    return "null" if value is None else str(value).lower()
