"""Configured ledgers: their values with changes, and where each value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gridbazaar import ledger_sim
from gridbazaar.configs import complete_ledger, compose, compose_file, option, options, path_of
from gridbazaar.errors import ConfigError, UnknownNameError
from gridbazaar.ledger_sim import LEDGERS, LedgerConfig, gas
from gridbazaar.sourced import Source, read_yaml, sources

GAS = "gas"


def configured() -> list[str]:
    """Return the names of the configured ledgers, sorted."""
    return options("ledger")


def read(ledger: str, changes: Sequence[str] = ()) -> LedgerConfig:
    """Return a ledger's configuration with changes.

    Args:
        ledger: configured name, or path of a YAML file.
        changes: as in `interval_s=5`, `network.latency_s=0.1` or `fees={rule: free}`; a mapping
            takes the place of the one before.

    Raises:
        UnknownNameError: for an unknown ledger, with the nearest known one.
        ConfigError: for an unknown parameter or an impossible value.
    """
    if _is_path(ledger):
        values = compose_file(Path(ledger), list(_words(changes, "")))
        try:
            return _validated(complete_ledger(values))
        except (ConfigError, UnknownNameError) as error:
            raise ConfigError(f"{ledger}: {error}") from error
    path_of("ledger", ledger)  # which knows the nearest name
    words = _words(changes, "ledger.")
    return _validated(compose("blank", [f"+ledger={ledger}", *words])["ledger"])


def sourced() -> list[str]:
    """Return the names that have sources: ledgers, layers, and `gas` of contract calls."""
    return [*options("ledger"), *options("layer"), GAS]


def sources_of(name: str) -> list[Source]:
    """Return where each value of a configuration comes from.

    Choices, such as the fee rule, stand there as plain values without a source.

    Args:
        name: one of `sourced`, or path of a ledger's YAML file.

    Raises:
        UnknownNameError: for an unknown name, with the nearest known one.
        ConfigError: as `read`.
    """
    return [source for source in sources(_raw(name)) if source.path != "name"]


def summary(ledger: str) -> str:
    """Return one line on a configured ledger: its kind, and after whom its values are."""
    kind = LEDGERS.describe()[option("ledger", ledger)["name"]].rstrip(".")
    comment = []
    for line in path_of("ledger", ledger).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line[1:].strip())
    values, _, _ = " ".join(comment).partition(". ")
    return f"{kind}. {values.rstrip('.')}." if values else f"{kind}."


def _validated(values: Mapping[str, Any]) -> LedgerConfig:
    config = ledger_sim.configure(values)
    ledger_sim.make(config)  # which checks fees and layers
    return config


def _raw(name: str) -> dict[str, Any]:
    if _is_path(name):
        read(name)
        return compose_file(Path(name))
    if name == GAS:
        return read_yaml(gas.TABLE)
    for group in ("ledger", "layer"):
        if name in options(group):
            return option(group, name)
    raise UnknownNameError("name", name, sourced())


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _words(changes: Sequence[str], prefix: str) -> Iterator[str]:
    """Say changes in Hydra's words, which would merge a mapping with the one before."""
    for change in changes:
        key, _, value = change.partition("=")
        if value.startswith("{"):
            yield f"{prefix}{key}=null"
            yield f"{prefix}{key}={value}"
        else:
            yield f"{prefix}{change}"
