"""Options of a command with their defaults and meaning, as the comments of its YAML tell them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from gridbazaar.configs.composition import with_version
from gridbazaar.configs.search_path import FOLDER, groups, options, path_of
from gridbazaar.errors import UnknownNameError

_LINE = re.compile(r"^( *)(- )?(\w+): *([^#]*?) *(?:# (.*))?$")
_WIDTH, _LEFT = 100, 34
_NO_NAMES = ("", "all", "null")
# How words choose one of a group that is no key of its own, and what stands before its options.
_WITHIN = {
    "tariff": ("tariff@task.tariff={name}", "task.tariff."),
    "devices": ("+devices@task.devices.{name}={name}", "task.devices.{name}."),
    "incentive": ("incentives=[{{name: {name}, ...}}], within the braces", ""),
    "layer": ("ledger.layers=[{{name: {name}, ...}}], within the braces", ""),
}


def option_help(entry: str, words: Sequence[str] = ()) -> str:
    """Return a line per option of configs/<entry>.yaml: word, default, meaning; 100 columns wide.

    Groups such as task name how many files there are to choose from; the options of the algorithm,
    and of what the words choose of other groups, follow.

    Raises UnknownNameError where the words choose what a group has not; gives the nearest.
    """
    lines, chosen = [], list(_chosen(words))
    for is_group, key, default, meaning in _options(FOLDER / f"{entry}.yaml"):
        if is_group:
            lines += _option(key, default, f"one of {len(options(key))} names, see --list")
            if key == "algorithm":
                chosen += [] if key in dict(chosen) else [(key, default)]
        else:
            lines += _option(key, default, meaning)
    for group, name in dict.fromkeys(chosen):
        words_for, before = _WITHIN.get(group, (f"{group}={name}", f"{group}."))
        own = [
            line
            for inner, key, default, meaning in _options(path_of(group, name))
            if not inner and key not in ("name", "description")
            for line in _option(f"{before.format(name=name)}{key}", default, meaning)
        ]
        lines += ["", f"With {words_for.format(name=name)}:", *own] if own else []
    return "\n".join(lines)


def _chosen(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each group and name that the words choose, one or several."""
    for word in words:
        group, _, value = with_version(word.lstrip("+")).partition("=")
        group = group.partition("@")[0]
        if group in groups() and not value.startswith("{"):
            for name in re.split(r"[\[\],\s]+", value):
                if name in options(group):
                    yield group, name
                elif name not in _NO_NAMES and group != "bidder":  # which may be a folder
                    raise UnknownNameError(group, name, options(group))


def _options(path: Path) -> Iterator[tuple[bool, str, str, str]]:
    """Yield of each option in a YAML file if it chooses a file, its key, default and comment."""
    above: list[str] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        found = _LINE.match(text)
        if found is None:
            continue
        indent, item, key, value, meaning = found.groups(default="")
        if item:
            if key in groups():
                yield True, key, value, ""
            continue
        above = [*above[: len(indent) // 2], key]
        if value:
            yield False, ".".join(above), *_plain(value, meaning)


def _plain(value: str, meaning: str) -> tuple[str, str]:
    """Return a value without its source, which goes into the meaning with the unit."""
    if not (value.startswith("{value:") and value.endswith("}")):
        return value, meaning
    given = yaml.safe_load(value)
    unit = "" if given["unit"] == "1" else f"{given['unit']}; "
    return str(given["value"]), f"{unit}{given['source']}"


def _option(word: str, default: str, meaning: str) -> list[str]:
    left = f"  {word}={default}"
    told = textwrap.wrap(meaning, _WIDTH - _LEFT) or [""]
    if len(left) > _LEFT - 2:
        lines = textwrap.wrap(left.strip(), _WIDTH, initial_indent="  ", subsequent_indent="    ")
        return [*lines, *(" " * _LEFT + line for line in told if line)]
    first, *rest = told
    return [f"{left:{_LEFT}}{first}".rstrip(), *(" " * _LEFT + line for line in rest)]
