"""Composition of configurations from YAML files and command-line words, by Hydra."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gridbazaar.configs.presets import BIDDER, expand
from gridbazaar.configs.search_path import FOLDER, folders, groups, options, path_of
from gridbazaar.errors import ConfigError, nearest
from gridbazaar.sourced import StrictLoader, is_sourced, read_yaml


def compose(entry: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Compose configs/<entry>.yaml with command-line overrides such as `market=grid_only`.

    A ledger that comes out holds all parameters of its layers, see `complete_ledger`, and so do
    incentives: a scheme that is named by a word, or with some of its parameters, takes the others
    from configs/incentive/. The word `preset=<name>` stands for a preset's words, but for who bids;
    see `presets.expand`.

    Raises ConfigError for an unknown key or option, with the nearest known name.
    """
    words = tuple(with_version(word) for word in expand(overrides, without=(BIDDER,)))
    values = copy.deepcopy(_recalled(entry, words, _files()))
    ledger = values.get("ledger")
    if isinstance(ledger, dict) and "layers" in ledger:
        values["ledger"] = complete_ledger(ledger)
    if isinstance(schemes := values.get("incentives"), list | str):
        schemes = [schemes] if isinstance(schemes, str) else schemes
        values["incentives"] = [_completed("incentive", each) for each in schemes]
    return values


def compose_file(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Compose a YAML file of the caller's own, which may build on our options by `defaults`.

    Raises:
        ConfigError: there is no such file, or as `compose`.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    if path.suffix != ".yaml":
        raise ConfigError(f"{path} ends in {path.suffix!r}; expected .yaml")
    read_yaml(path)  # which says more of what is no mapping than Hydra does
    return _compose(path.parent.resolve(), path.stem, overrides)


def option(group: str, name: str) -> dict[str, Any]:
    """Return one option of a group as <group>/<name>.yaml composes it."""
    return dict(compose("blank", [f"+{group}={name}"])[group])


def complete_ledger(ledger: dict[str, Any]) -> dict[str, Any]:
    """Return a ledger with every parameter of its layers.

    A layer that is named by a word, or with some of its parameters, takes the others from
    configs/layer/. A parameter `..._ledger` that is an option of ledger, or the path of a YAML
    file, becomes that ledger, in slots as long as this one's; so does some of its parameters.

    Raises:
        UnknownNameError: for an unknown ledger, with the nearest known one.
        ConfigError: as `compose`.
    """
    layers = ledger.get("layers") or []
    if not isinstance(layers, list):
        raise ConfigError(f"ledger.layers is {layers!r}: expected a list, as in [pseudonyms]")
    for layer in layers:
        if not isinstance(layer, str | dict):
            raise ConfigError(
                f"ledger.layers holds {layer!r}: expected names, or mappings, as in "
                "[{name: noise}]"
            )
    return {**ledger, "layers": [_complete_layer(layer, ledger) for layer in layers]}


def _complete_layer(layer: Any, ledger: dict[str, Any]) -> Any:
    values = _completed("layer", layer)
    for key, value in values.items():
        if key.endswith("_ledger") and isinstance(value, str):
            values[key] = {**_ledger_called(value), "slot_s": ledger["slot_s"]}
        elif key.endswith("_ledger") and isinstance(value, dict):
            values[key] = _completed("ledger", {"slot_s": ledger["slot_s"], **value})
    return values


def _completed(group: str, chosen: Any) -> Any:
    """Return a variant's mapping, named by a word or in part, with the rest from its file."""
    given = {"name": chosen} if isinstance(chosen, str) else chosen
    if not isinstance(given, dict):
        return chosen
    known = given.get("name") in options(group)
    return {**(_defaults(path_of(group, given["name"])) if known else {}), **given}


def _defaults(path: Path) -> dict[str, Any]:
    return _as_it_stands(path, path.stat().st_mtime_ns)


@lru_cache
def _as_it_stands(layer: Path, changed_ns: int) -> dict[str, Any]:
    return option(layer.parent.name, layer.stem)


def _ledger_called(name: str) -> dict[str, Any]:
    if name.endswith((".yaml", ".yml")):
        return complete_ledger(compose_file(Path(name)))
    path_of("ledger", name)  # which knows the nearest name
    return option("ledger", name)


@lru_cache(maxsize=256)
def _recalled(
    entry: str, overrides: tuple[str, ...], files: tuple[tuple[Path, int, int], ...]
) -> dict[str, Any]:
    """Compose, or recall what came of the same words and files: Hydra takes a third of a second."""
    return _compose(FOLDER, entry, overrides)


def _files() -> tuple[tuple[Path, int, int], ...]:
    """Return what tells whether any YAML has changed: path, time and size of each."""
    paths = (
        p for folder in folders() for kind in ("*.yaml", "*/*.yaml") for p in folder.glob(kind)
    )
    return tuple((path, (at := path.stat()).st_mtime_ns, at.st_size) for path in paths)


def _compose(folder: Path, entry: str, overrides: Sequence[str]) -> dict[str, Any]:
    for word in overrides:
        if word.lstrip("+~").startswith(("hydra/", "hydra.")):
            raise ConfigError(
                f"{word!r}: of Hydra's own words this takes hydra/launcher= and "
                "hydra.launcher.<option>=, where it trains or evaluates several (docs/cluster.md)"
            )
        _check_once(word)
    try:
        with our_hydra(folder):
            composed = hydra_compose(entry, [*overrides, *search_path(folder)])
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())
        raise ConfigError(f"{folder / entry}.yaml is not valid YAML: {what}") from None
    # ValueError says that a group was given null, a number or a truth value, TypeError that an
    # entry of a list was called by a name.
    except (HydraException, OmegaConfBaseException, ValueError, TypeError) as error:
        raise ConfigError(_explain(folder, entry, overrides, error)) from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _check_once(word: str) -> None:
    """Raise ConfigError where a mapping has a key twice, of which Hydra would take the last."""
    try:
        yaml.load(word.partition("=")[2], StrictLoader)
    except yaml.constructor.ConstructorError as error:
        raise ConfigError(f"{word!r}: {' '.join(str(error).split())}") from None
    except yaml.YAMLError:  # Hydra's grammar is not quite YAML's
        return


@contextmanager
def our_hydra(folder: Path) -> Iterator[None]:
    """Compose from a folder; a Hydra application around us finds everything as it was."""
    theirs, version = GlobalHydra.instance(), VersionBase.instance()
    hydra, base = theirs.hydra, version.version_base
    theirs.clear()
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            yield
    finally:
        GlobalHydra.set_instance(theirs)
        theirs.hydra, version.version_base = hydra, base


def search_path(folder: Path) -> list[str]:
    """Return the override that lets Hydra look into all folders but the first."""
    others = [path for path in folders() if path != folder]
    if not others:
        return []
    # Hydra's quoting: a quote is escaped, and so are the backslashes before one, or at the end.
    escaped = (re.sub(r"(\\*)('|$)", _doubled, str(path)) for path in others)
    quoted = ",".join(f"'file://{path}'" for path in escaped)
    return [f"hydra.searchpath=[{quoted}]"]


def _doubled(found: re.Match[str]) -> str:
    return found[1] * 2 + ("\\'" if found[2] else "")


def with_version(word: str) -> str:
    """Let `task=semiurb4` mean its newest version, `task=semiurb4-v1`."""
    group, equals, name = word.partition("=")
    if equals and name and group in groups() and name not in options(group):
        versions = [known for known in options(group) if known.rpartition("-v")[0] == name]
        if versions:
            return f"{group}={max(versions, key=lambda v: int(v.rpartition('-v')[2]))}"
    return word


def _explain(folder: Path, entry: str, overrides: Sequence[str], error: Exception) -> str:
    for word in overrides:
        if "=" in word and (wrong := _unquoted(word)) is not None:
            return wrong
    known_groups = groups()
    chosen = [
        word
        for word in overrides
        if word.lstrip("+").partition("=")[0] in known_groups
        and word.partition("=")[2] in options(word.lstrip("+").partition("=")[0])
    ]
    known = _known_keys(folder, entry, chosen)
    for word in overrides:
        key, equals, value = word.lstrip("+~").partition("=")
        key = key.partition("@")[0] if key.partition("@")[0] in known_groups else key
        if not equals and not word.startswith("~"):
            return f"{word!r} is no override; write key=value, as in market=uniform_auction"
        if key in known_groups and value not in options(key):
            if value.startswith(("{", "[")):
                return f"{word!r}: {key} takes one name here; {nearest(value, options(key))}"
            return f"unknown {key} {value!r}: {nearest(value, options(key))}"
        if key in known_groups and f"Could not override '{key}'" in str(error):
            own = [name for name in known if "." not in name]
            return f"{word!r}: {key} is not chosen here; {nearest(key, own)}"
        if whole := _whole(key, known):
            return f"unknown key {key!r}: {whole} is given as a whole, {whole}=..."
        if key not in known and key not in known_groups:
            return f"unknown key {key!r}: {nearest(key, _beside(key, known))}"
        if value.startswith("{") and f"override {word}" in str(error):
            return f"{word!r}: {key} takes no mapping; it is a list or one value, as {key}=[]"
        if value.startswith("[") and f"override {word}" in str(error):
            return f"{word!r}: {key} takes no list; it is one value, or a mapping"
    return " ".join(str(error).split("\n", 1)[0].split())


def _beside(key: str, known: Sequence[str]) -> Sequence[str]:
    """Return the known keys next to an unknown one, or all where nothing above it is known."""
    above = key.rpartition(".")[0]
    while above:
        if near := [name for name in known if name.rpartition(".")[0] == above]:
            return near
        above = above.rpartition(".")[0]
    return known


def _whole(key: str, known: Sequence[str]) -> str | None:
    """Return what a key reaches into though it has no named parts, a list say; else None."""
    owner = max((name for name in known if key.startswith(f"{name}.")), key=len, default=None)
    parts = owner is not None and any(name.startswith(f"{owner}.") for name in known)
    return None if parts else owner


def _unquoted(word: str) -> str | None:
    """Return what to say of an override that Hydra's grammar cannot read, else None."""
    try:
        override = OverridesParser.create().parse_override(word)
        if override.is_sweep_override():
            return (
                f"{word!r} has several values: `train.py -m` trains each of them; a list is "
                f"written {word.partition('=')[0]}=[...]"
            )
    except HydraException as error:
        key, _, value = word.partition("=")
        what = " ".join(str(error).split("\n", 1)[0].split())
        if not value or value[0] in "'\"[{":
            return f"{word!r} cannot be read: {what}"
        inner = value.replace("'", "\\'")
        return (
            f"{word!r} cannot be read: {what}; put a value with spaces, brackets or other signs in "
            f"quotes, as in \"{key}='{inner}'\""
        )
    return None


def _known_keys(folder: Path, entry: str, chosen: Sequence[str]) -> list[str]:
    """Return the keys of an entry under the chosen options of its groups."""
    with our_hydra(folder):
        for words in (chosen, ()):  # without them, where this entry does not hold such a group
            try:
                composed = hydra_compose(entry, [*words, *search_path(folder)])
            except (HydraException, OmegaConfBaseException):
                continue
            return list(_paths(OmegaConf.to_container(composed), ""))
    return []


def _paths(node: Any, prefix: str) -> Iterator[str]:
    if isinstance(node, dict) and not is_sourced(node):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _paths(value, f"{prefix}{key}.")
