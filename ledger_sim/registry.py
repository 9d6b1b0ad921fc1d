"""Which ledgers exist, and how one is built from its configuration."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from ledger_sim import ledgers
from ledger_sim.base import Ledger, LedgerConfig, LedgerError

Builder = TypeVar("Builder", bound=Callable[[Any], Ledger])

_KINDS: dict[str, tuple[type[LedgerConfig], Callable[[Any], Ledger]]] = {}


def register(name: str, config: type[LedgerConfig]) -> Callable[[Builder], Builder]:
    """Class decorator: make a ledger known as `name`, built from the validated `config` model.

    The first line of the class's docstring describes it. A module in `ledger_sim/ledgers` is found
    by itself.

    Raises:
        LedgerError: when the name is taken.
    """

    def add(builder: Builder) -> Builder:
        if name in _KINDS:
            raise LedgerError(f"a ledger named {name!r} is registered already; choose another name")
        _KINDS[name] = (config, builder)
        return builder

    return add


@cache
def _import_ledgers() -> None:
    for module in pkgutil.iter_modules(ledgers.__path__):
        importlib.import_module(f"{ledgers.__name__}.{module.name}")


def names() -> list[str]:
    """Return the registered kinds of ledger, in alphabetical order."""
    _import_ledgers()
    return sorted(_KINDS)


def describe() -> dict[str, str]:
    """Return one line for each registered kind of ledger."""
    return {name: (_KINDS[name][1].__doc__ or "").strip().partition("\n")[0] for name in names()}


def make(config: LedgerConfig | Mapping[str, Any]) -> Ledger:
    """Build a ledger from its validated model, or from the mapping that a YAML file holds.

    Raises:
        LedgerError: for an unknown kind or key (with the nearest known one) and for missing or
            impossible values (with the key, the value and what is allowed).
    """
    if not isinstance(config, LedgerConfig):
        config = _validate({str(key): value for key, value in config.items()})
    return _kind(config.name)[1](config)


def read_config(path: Path) -> LedgerConfig:
    """Read and validate a ledger's YAML file.

    Raises:
        LedgerError: when it is no YAML mapping, or as `make` does.
        FileNotFoundError: when there is no such file.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise LedgerError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise LedgerError(
            f"{path} holds {type(raw).__name__}; it must be a mapping that begins with name:"
        )
    try:
        return _validate(raw)
    except LedgerError as error:
        raise LedgerError(f"{path}: {error}") from error


def _kind(name: str) -> tuple[type[LedgerConfig], Callable[[Any], Ledger]]:
    known = names()
    if name not in known:
        raise LedgerError(f"there is no ledger {name!r}; {_nearest(name, known)}")
    return _KINDS[name]


def _validate(raw: dict[str, Any]) -> LedgerConfig:
    if "name" not in raw:
        raise LedgerError(f"ledger.name is missing; it is one of {', '.join(names())}")
    model, _ = _kind(str(raw["name"]))
    for key in raw:
        if key not in model.model_fields:
            raise LedgerError(
                f"ledger.{key} is no parameter of the {raw['name']!r} ledger; "
                f"{_nearest(key, model.model_fields)}"
            )
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        wrong = "; ".join(
            f"ledger{''.join(f'.{part}' for part in item['loc'])} is {item['input']!r}: "
            f"{item['msg']}"
            if item["type"] != "missing"
            else f"ledger.{item['loc'][0]} is missing"
            for item in error.errors()
        )
        raise LedgerError(wrong) from error


def _nearest(given: str, known: Iterable[str]) -> str:
    options = sorted(known)
    match = difflib.get_close_matches(given, options, n=1)
    hint = f"did you mean {match[0]!r}? " if match else ""
    return f"{hint}Known: {', '.join(options)}"
