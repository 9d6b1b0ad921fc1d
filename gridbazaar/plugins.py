"""Plug-ins: modules of other packages that register variants, and their folders of YAML.

An installed package names its module as an entry point, in its pyproject.toml:

    [project.entry-points."gridbazaar.plugins"]
    mine = "my_package.bazaar"

The module registers its markets, bidders, ... by our decorators when it is imported, and may say by
`CONFIGS`, a path, in which folder its YAML lies. A module that no installed package names is
imported with `use`, or by the environment variable GRIDBAZAAR_PLUGINS, commas in between, which
this process's children inherit. Whoever sends work to processes that do not, RLlib's actors on
another machine, sends `modules()` along, to be imported there with `follow`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from gridbazaar.errors import PluginError

GROUP, VARIABLE = "gridbazaar.plugins", "GRIDBAZAAR_PLUGINS"
_NAMED = f"named by {VARIABLE} or --import"

_modules: dict[str, ModuleType] = {}
_failed: dict[str, PluginError] = {}
_registering: dict[str, None] = {}
_state = {"loading": False, "listed": False}


def load() -> list[ModuleType]:
    """Import every plug-in once; return the modules.

    Raises:
        PluginError: one cannot be imported; names it.
    """
    if _state["loading"]:  # a plug-in that looks something up while it is imported
        return list(_modules.values())
    _state["loading"] = True
    try:
        if not _state["listed"]:
            for entry in entry_points(group=GROUP):
                _import(entry.value.partition(":")[0], _origin(entry))
            _state["listed"] = True
        for name in os.environ.get(VARIABLE, "").split(","):
            if name.strip():
                _import(name.strip(), _NAMED)
    finally:
        _state["loading"] = False
    return list(_modules.values())


def use(name: str) -> None:
    """Import a module as a plug-in, here and in this process's children; raises `PluginError`."""
    load()
    _import(name, _NAMED)
    named = [one for one in os.environ.get(VARIABLE, "").split(",") if one]
    if name not in named:
        os.environ[VARIABLE] = ",".join([*named, name])


def note(module: str) -> None:
    """Remember which module registers a variant; see `modules`."""
    if module.partition(".")[0] not in (__name__.partition(".")[0], "__main__", ""):
        _registering[module] = None


def modules() -> list[str]:
    """Return the modules of other packages that another process needs to know what this one does.

    These are the plug-ins, and whatever else registered a variant, but not the script itself.
    """
    return list(dict.fromkeys([*_modules, *_registering]))


def follow(names: Iterable[str]) -> None:
    """Import the modules that another process named; raises `PluginError`."""
    for name in names:
        if name not in sys.modules:
            _import(name, "used by the process that this one works for")


def folders() -> list[Path]:
    """Return the folders of YAML that plug-ins bring along; raises as `load`.

    Raises:
        PluginError: such a folder is not there.
    """
    found = []
    for name, module in ((name, module) for name, module in _named() if hasattr(module, "CONFIGS")):
        path = Path(module.CONFIGS).resolve()
        if not path.is_dir():
            raise PluginError(f"plug-in {name!r}: there is no folder CONFIGS {path}")
        found.append(path)
    return found


def _named() -> list[tuple[str, ModuleType]]:
    load()
    return list(_modules.items())


def _import(name: str, origin: str) -> None:
    if name in _modules:
        return
    if name not in _failed:
        try:
            _modules[name] = importlib.import_module(name)
        except Exception as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            _failed[name] = PluginError(
                f"plug-in {name!r} ({origin}) cannot be imported: {what}; mend or remove it"
            )
    if name in _failed:
        raise _failed[name]


def _origin(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist else "unknown"
    return f"entry point {entry.name!r} of package {package!r}"
