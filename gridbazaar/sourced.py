"""The YAML files, and the values in them that say where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from gridbazaar.errors import LedgerError

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


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Read YAML; raises `LedgerError`, one line that names `where`, for what is none."""
    try:
        return yaml.load(text, _Strict)
    except yaml.YAMLError as error:
        raise LedgerError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping that a file holds; raises `LedgerError` where it holds none."""
    raw = parse_yaml(path.read_bytes(), str(path))
    if not isinstance(raw, dict):
        raise LedgerError(
            f"{path} holds {type(raw).__name__}; it must be a mapping that begins with name:"
        )
    return raw


def plain(raw: Any, path: str = "ledger") -> Any:
    """Return what a YAML file holds with every sourced entry replaced by its value.

    Raises:
        LedgerError: for an entry that lacks one of value, unit, source and status or holds more, or
            whose status is unknown.
    """
    if isinstance(raw, Mapping):
        if "value" in raw:
            return _checked(raw, path)["value"]
        return {str(key): plain(entry, f"{path}.{key}") for key, entry in raw.items()}
    if isinstance(raw, list):
        return [plain(entry, f"{path}[{index}]") for index, entry in enumerate(raw)]
    return raw


def sources(raw: Any, path: str = "") -> Iterator[Source]:
    """List the values of what a YAML file holds, in its order; raises as `plain`."""
    if isinstance(raw, Mapping) and "value" in raw:
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


def check_units(raw: Mapping[str, Any], model: type[BaseModel], path: str = "ledger") -> None:
    """Raise `LedgerError` where a sourced entry's unit is not the one its field declares."""
    for name, field in model.model_fields.items():
        entry = raw.get(name)
        if not isinstance(entry, Mapping):
            continue
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            check_units(entry, inner, f"{path}.{name}")
            continue
        extra = field.json_schema_extra
        unit = extra.get("unit") if isinstance(extra, dict) else None
        if unit is not None and "value" in entry and entry.get("unit") != unit:
            raise LedgerError(f"{path}.{name} has unit {entry.get('unit')!r}; it is in {unit!r}")


def _checked(entry: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    for key in _KEYS:
        if key != "value" and not str(entry.get(key) or "").strip():
            raise LedgerError(f"{path} has no {key}; a sourced entry holds {', '.join(_KEYS)}")
    unknown = sorted(set(entry) - set(_KEYS))
    if unknown:
        raise LedgerError(f"{path} holds {unknown[0]!r}; a sourced entry holds {', '.join(_KEYS)}")
    if entry["status"] not in STATUSES:
        raise LedgerError(
            f"{path} has status {entry['status']!r}; allowed are {', '.join(STATUSES)}"
        )
    return entry
