"""The YAML files that come with the project: what they hold, and a ledger's with changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gridbazaar.errors import LedgerError, UnknownNameError
from gridbazaar.ledger_sim.chain import gas
from gridbazaar.ledger_sim.layers.protocol import FOLDER as LAYERS
from gridbazaar.ledger_sim.protocol import LedgerConfig, describe_errors
from gridbazaar.ledger_sim.registry import describe, read_config
from gridbazaar.sourced import Source, parse_yaml, read_yaml, sources

FOLDER = Path(__file__).parents[1] / "configs" / "ledger"


def configured() -> list[str]:
    """Return the names of the YAML files that come with the project, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def path_of(name: str, known: Mapping[str, Path] | None = None) -> Path:
    """Return a YAML file by name, or the user's own where a path is given.

    Args:
        name: a configured ledger's, or one of `known`.
        known: files by name; None: the configured ledgers'.

    Raises:
        UnknownNameError: for an unknown name, with the nearest known one.
        LedgerError: where there is no such file.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise LedgerError(f"there is no file {path}")
        return path
    kind = "name" if known else "ledger"
    known = known or {ledger: FOLDER / f"{ledger}.yaml" for ledger in configured()}
    if name not in known:
        raise UnknownNameError(kind, name, known)
    return known[name]


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


def sourced() -> dict[str, Path]:
    """Return the files with sources by name: ledgers, layers, and `gas` of contract calls."""
    files = (*sorted(FOLDER.glob("*.yaml")), *sorted(LAYERS.glob("*.yaml")), gas.TABLE)
    return {path.stem: path for path in files}


def sources_of(name: str) -> list[Source]:
    """Return where each value of a YAML file comes from.

    Choices, such as the fee rule, stand there as plain values without a source.

    Args:
        name: one of `sourced`, or path of a ledger's YAML file.

    Raises:
        UnknownNameError: for an unknown name, with the nearest known one.
        LedgerError: as `read`.
    """
    known = sourced()
    path = path_of(name, known)
    if name not in known:
        read_config(path)
    every = sources(read_yaml(path))
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
    value = parse_yaml(text, repr(change))
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
