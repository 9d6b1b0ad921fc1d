"""Sourced values: entries of a YAML file with value, unit, source and status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gridbazaar.errors import ConfigError

STATUSES = ("measured", "published", "derived", "assumed")
_KEYS = ("value", "unit", "source", "status")


@dataclass(frozen=True, slots=True)
class Source:
    """Where one value comes from.

    Attributes:
        path: where it stands, as in `network.bandwidth_kbit_s`.
        value: what the YAML file gives.
        unit: of the value.
        source: who says so, or how it was derived, or why it was assumed.
        status: one of `STATUSES`; `given` where a user put a plain value.
    """

    path: str
    value: Any
    unit: str
    source: str
    status: str


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; raises ConstructorError for a key that stands twice."""
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Read YAML; raises `ConfigError`, one line that names `where`, for what is none."""
    try:
        return yaml.load(text, StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping that a file holds; raises `ConfigError` where it holds none."""
    raw = parse_yaml(path.read_bytes(), str(path))
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{path} holds {type(raw).__name__}; it must be a mapping that begins with name:"
        )
    return raw


def plain(raw: Any, path: str = "ledger") -> Any:
    """Return what a YAML file holds with every sourced entry replaced by its value.

    Raises:
        ConfigError: for an entry that lacks one of value, unit, source and status or holds more, or
            whose status is unknown.
    """
    if is_sourced(raw):
        return _checked(raw, path)["value"]
    if isinstance(raw, Mapping):
        return {str(key): plain(entry, f"{path}.{key}") for key, entry in raw.items()}
    if isinstance(raw, list):
        return [plain(entry, f"{path}[{index}]") for index, entry in enumerate(raw)]
    return raw


def sources(raw: Any, path: str = "") -> Iterator[Source]:
    """List the values of what a YAML file holds, in its order; raises as `plain`."""
    if is_sourced(raw):
        entry = _checked(raw, path)
        yield Source(path, *(entry[key] for key in _KEYS))
    elif isinstance(raw, Mapping):
        for key, entry in raw.items():
            yield from sources(entry, f"{path}.{key}" if path else str(key))
    elif isinstance(raw, list) and raw:
        for index, entry in enumerate(raw):
            yield from sources(entry, f"{path}[{index}]")
    else:
        yield Source(path, raw, "", "", "given")


def is_sourced(entry: Any) -> bool:
    """Return whether this is a value with its source."""
    return isinstance(entry, Mapping) and "value" in entry


def flaw(entry: Mapping[str, Any], unit: str | None = None) -> str:
    """Return what is wrong with a sourced entry, to be said after its path; "" where nothing is.

    Args:
        entry: with a value.
        unit: that it must have; None: any.
    """
    for key in _KEYS:
        if key != "value" and not str(entry.get(key) or "").strip():
            return f"has no {key}; a sourced entry holds {', '.join(_KEYS)}"
    unknown = sorted(set(entry) - set(_KEYS))
    if unknown:
        return f"holds {unknown[0]!r}; a sourced entry holds {', '.join(_KEYS)}"
    if entry["status"] not in STATUSES:
        return f"has status {entry['status']!r}; allowed are {', '.join(STATUSES)}"
    if unit is not None and entry["unit"] != unit:
        return f"has unit {entry['unit']!r}; it is in {unit!r}"
    return ""


def _checked(entry: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    if wrong := flaw(entry):
        raise ConfigError(f"{path} {wrong}")
    return entry
