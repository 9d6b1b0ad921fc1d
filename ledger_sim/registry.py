"""Which ledgers exist, and how one is built from its configuration."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from gridbazaar.errors import LedgerError, UnknownNameError
from gridbazaar.ledger_sim import consensus as consensuses
from gridbazaar.ledger_sim.chain.blockchain import Blockchain
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus
from gridbazaar.ledger_sim.fees.protocol import config_of as fee_config
from gridbazaar.ledger_sim.layers.protocol import config_of as layer_config
from gridbazaar.ledger_sim.layers.protocol import wrap
from gridbazaar.ledger_sim.protocol import Ledger, LedgerConfig, describe_errors
from gridbazaar.registry import Registry
from gridbazaar.sourced import check_units, plain, read_yaml

Builder = TypeVar("Builder", bound=Callable[[Any], Ledger])
AnyConsensus = TypeVar("AnyConsensus", bound=Consensus[Any])

_KINDS: Registry[Callable[[Any], Ledger]] = Registry("ledger")
_CONFIGS: dict[str, type[LedgerConfig]] = {}
_CONSENSUS: dict[str, type[Consensus[Any]]] = {}


def register(name: str, config: type[LedgerConfig]) -> Callable[[Builder], Builder]:
    """Class decorator: make a ledger known as `name`, built from the validated `config` model.

    The first line of the class's docstring describes it. A module in
    `ledger_sim/consensus` is found by itself.

    Raises:
        ValueError: when the name is taken.
    """

    def enter(builder: Builder) -> Builder:
        _KINDS.register(name)(builder)
        _CONFIGS[name] = config
        return builder

    return enter


def consensus(
    name: str, config: type[ChainConfig]
) -> Callable[[type[AnyConsensus]], type[AnyConsensus]]:
    """Class decorator: make a chain under this consensus known as a ledger; see `register`."""

    def enter(kind: type[AnyConsensus]) -> type[AnyConsensus]:
        def build(chosen: ChainConfig) -> Ledger:
            return Blockchain(kind(chosen))

        build.__doc__ = kind.__doc__
        register(name, config)(build)
        _CONSENSUS[name] = kind
        return kind

    return enter


def consensus_of(config: ChainConfig) -> Consensus[Any]:
    """Return the consensus of a validated chain's configuration."""
    _import_ledgers()
    return _CONSENSUS[config.name](config)


@cache
def _import_ledgers() -> None:
    importlib.import_module("gridbazaar.ledger_sim.ideal")
    for module in pkgutil.iter_modules(consensuses.__path__):
        importlib.import_module(f"{consensuses.__name__}.{module.name}")


def names() -> list[str]:
    """Return the registered kinds of ledger, in alphabetical order."""
    _import_ledgers()
    return _KINDS.names()


def describe() -> dict[str, str]:
    """Return one line for each registered kind of ledger."""
    _import_ledgers()
    return _KINDS.describe()


def make(config: LedgerConfig | Mapping[str, Any]) -> Ledger:
    """Build a ledger from its validated model, or from the mapping that a YAML file holds.

    Raises:
        UnknownNameError: for an unknown kind or parameter, with the nearest known one.
        LedgerError: for missing or impossible values, with the parameter, the value and what is
            allowed.
    """
    if not isinstance(config, LedgerConfig):
        config = _validate({str(key): value for key, value in config.items()})
    _import_ledgers()
    ledger = _KINDS[config.name](config)
    for layer in config.layers:
        ledger = wrap(ledger, layer)
    return ledger


def read_config(path: Path) -> LedgerConfig:
    """Read and validate a ledger's YAML file.

    Raises:
        LedgerError: when it is no YAML mapping, or as `make` does, with the file's path.
        FileNotFoundError: when there is no such file.
    """
    raw = read_yaml(path)
    try:
        config = _validate(raw)
        make(config)  # which checks fees and layers
    except (LedgerError, UnknownNameError) as error:
        raise LedgerError(f"{path}: {error}") from error
    return config


def _validate(raw: dict[str, Any]) -> LedgerConfig:
    if "name" not in raw:
        raise LedgerError(f"ledger.name is missing; it is one of {', '.join(names())}")
    _import_ledgers()
    kind = str(raw["name"])
    _KINDS[kind]  # an unknown kind raises here, with the nearest known one
    model = _CONFIGS[kind]
    for key in raw:
        if key not in model.model_fields:
            raise UnknownNameError(f"parameter of ledger {kind!r}", key, model.model_fields)
    check_units(raw, model)
    if isinstance(raw.get("fees"), dict) and "rule" in raw["fees"]:
        check_units(raw["fees"], fee_config(str(raw["fees"]["rule"])), "ledger.fees")
    for layer in raw.get("layers") or []:
        layer_config(layer)  # before its entries lose their units
    try:
        return model.model_validate(plain(raw))
    except ValidationError as error:
        raise LedgerError(describe_errors(error, "ledger")) from error
