"""The ledgers that come configured: which there are, and one of them with changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ledger_sim.base import LedgerConfig, LedgerError, describe_errors
from ledger_sim.registry import describe, read_config
from ledger_sim.sourced import Source, sources
from ledger_sim.variants import UnknownNameError

FOLDER = Path(__file__).parents[1] / "configs" / "ledger"


def configured() -> list[str]:
    """Return the names of the YAML files that come with the project, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def path_of(ledger: str) -> Path:
    """Return the YAML file of a configured ledger, or the user's own where a path is given.

    Raises:
        UnknownNameError: for an unknown name, with the nearest known one.
        LedgerError: where there is no such file.
    """
    if ledger.endswith((".yaml", ".yml")):
        path = Path(ledger)
        if not path.is_file():
            raise LedgerError(f"there is no file {path}")
        return path
    if ledger not in configured():
        raise UnknownNameError("ledger", ledger, configured())
    return FOLDER / f"{ledger}.yaml"


def read(ledger: str, changes: Sequence[str] = ()) -> LedgerConfig:
    """Return a ledger's configuration with changes.

    Args:
        ledger: configured name, or path of a YAML file.
        changes: as in `interval_s=5`, `network.latency_s=0.1` or `fees={rule: free}`, in YAML.

    Raises:
        UnknownNameError: for an unknown ledger or parameter, with the nearest known one.
        LedgerError: for a change without `=`, or an impossible value.
    """
    config = read_config(path_of(ledger))
    if not changes:
        return config
    raw = config.model_dump()
    for change in changes:
        _set(raw, change)
    try:
        return type(config).model_validate(raw)
    except ValidationError as error:
        raise LedgerError(describe_errors(error, "ledger")) from error


def sources_of(ledger: str) -> list[Source]:
    """Return where each value of a ledger's YAML file comes from; raises as `read`.

    Choices, such as the fee rule, stand there as plain values without a source.
    """
    path = path_of(ledger)
    read_config(path)
    every = sources(yaml.safe_load(path.read_text(encoding="utf-8")))
    return [source for source in every if source.path != "name"]


def summary(ledger: str) -> str:
    """Return one line on a configured ledger: its kind, and after whom its values are."""
    path = path_of(ledger)
    kind = describe()[read_config(path).name].rstrip(".")
    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line[1:].strip())
    values, _, _ = " ".join(comment).partition(". ")
    return f"{kind}. {values.rstrip('.')}." if values else f"{kind}."


def _set(raw: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals:
        raise LedgerError(f"{change!r} changes nothing; write it as in interval_s=5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LedgerError(f"{change!r}: {text!r} is not valid YAML") from error
    known = [parameter for parameter in _paths(raw) if parameter != "name"]
    if path not in known:
        raise UnknownNameError(f"parameter of ledger {raw['name']!r}", path, known)
    *parents, last = path.split(".")
    for parent in parents:
        raw = raw[parent]
    raw[last] = _number(value)


def _number(value: Any) -> Any:
    """Read 1e-8 as a number, which YAML takes for a string because it lacks the point."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _paths(raw: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in raw.items():
        yield path + key
        if isinstance(value, Mapping):
            yield from _paths(value, f"{path}{key}.")
