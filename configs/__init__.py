"""The YAML configurations, and how command-line words become a validated object.

Hydra composes the groups; pydantic models validate what comes out. Every error names the path, the
value and what is allowed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from gridbazaar.errors import ConfigError

FOLDER = Path(__file__).parent
Model = TypeVar("Model", bound=BaseModel)


def groups() -> list[str]:
    """Return the configuration groups: task, market, ledger, ..."""
    return sorted(path.name for path in FOLDER.iterdir() if any(path.glob("*.yaml")))


def options(group: str) -> list[str]:
    """Return the names that a group offers; parts of others begin with an underscore."""
    return sorted(path.stem for path in (FOLDER / group).glob("[!_]*.yaml"))


def compose(entry: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Compose configs/<entry>.yaml with command-line overrides such as `market=grid_only`.

    Raises ConfigError for an unknown key or option, with the nearest known name.
    """
    overrides = [_complete(word) for word in overrides]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(FOLDER), version_base="1.3"):
            composed = hydra_compose(entry, list(overrides))
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(entry, overrides, error)) from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def option(group: str, name: str) -> dict[str, Any]:
    """Return one option of a group as configs/<group>/<name>.yaml composes it."""
    return dict(compose("blank", [f"+{group}={name}"])[group])


def validate(model: type[Model], values: dict[str, Any], where: str = "") -> Model:
    """Build a model; raises ConfigError that lists each wrong entry with its path and value."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_describe(model, entry, where) for entry in error.errors()]
        raise ConfigError("configuration refused:\n" + "\n".join(lines)) from None


def _describe(model: type[BaseModel], entry: Any, where: str) -> str:
    path = ".".join(str(part) for part in (*where.split("."), *entry["loc"]) if part != "")
    if entry["type"] == "extra_forbidden":
        known = sorted(set(_field_names(model)))
        return f"  {path}: unknown key; {_nearest(str(entry['loc'][-1]), known)}"
    if entry["type"] == "missing":
        return f"  {path}: missing; add it to the YAML"
    return f"  {path}: {entry['msg']} (given: {entry['input']!r})"


def _field_names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _field_names(field.annotation)


def _complete(word: str) -> str:
    """Let `task=semiurb4` mean its newest version, `task=semiurb4-v0`."""
    group, equals, name = word.partition("=")
    if equals and group in groups() and name not in options(group):
        versions = [known for known in options(group) if known.rpartition("-v")[0] == name]
        if versions:
            return f"{group}={max(versions, key=lambda v: int(v.rpartition('-v')[2]))}"
    return word


def _explain(entry: str, overrides: Sequence[str], error: Exception) -> str:
    chosen = [
        word
        for word in overrides
        if word.partition("=")[0] in groups()
        and word.partition("=")[2] in options(word.partition("=")[0])
    ]
    known = _known_keys(entry, chosen)
    for word in overrides:
        key, equals, value = word.lstrip("+~").partition("=")
        if not equals:
            return f"{word!r} is no override; write key=value, as in market=uniform_auction"
        if key in groups() and value not in options(key) and not value.startswith(("{", "[")):
            return f"unknown {key} {value!r}; {_nearest(value, options(key))}"
        if key not in known and key.split(".")[0] not in groups():
            return f"unknown key {key!r}; {_nearest(key, known)}"
        if key not in known:
            near = [name for name in known if name.startswith(key.split(".")[0])]
            return f"unknown key {key!r}; {_nearest(key, near)}"
    return str(error).splitlines()[0]


def _known_keys(entry: str, chosen: Sequence[str]) -> list[str]:
    """Return the keys of configs/<entry>.yaml under the chosen options of its groups."""
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        try:
            composed = hydra_compose(entry, list(chosen))
        except HydraException:  # a group that this entry does not hold
            composed = hydra_compose(entry)
        return list(_paths(OmegaConf.to_container(composed), ""))


def _paths(node: Any, prefix: str) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _paths(value, f"{prefix}{key}.")


def _nearest(given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(known)}"
