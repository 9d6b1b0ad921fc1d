"""Named variants of one kind: one file and one decorator line each."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from gridbazaar import plugins
from gridbazaar.config import validate
from gridbazaar.errors import ConfigError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """The variants of one kind (market, ledger, bidder, ...), by name.

    Args:
        kind: what messages call a variant.
        packages: whose modules register variants, sub-packages included. They are imported at the
            first question, and plug-ins after them.
    """

    def __init__(self, kind: str, *packages: str):
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._packages = packages
        self._waiting = list(packages)

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters a class or function under `name`.

        Raises:
            ValueError: the name is taken.
        """

        def enter(entry: T) -> T:
            home = getattr(entry, "__module__", "") or ""  # none where code was typed or executed
            if not any(f"{home}.".startswith(f"{package}.") for package in self._packages):
                self._import_own()  # whose names come first
                plugins.note(home)
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice; choose another name")
            self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        """Return the variant called `name`; raises UnknownNameError with the nearest name."""
        entries = self._loaded()
        if name not in entries:
            raise UnknownNameError(self.kind, name, entries)
        return entries[name]

    def __contains__(self, name: object) -> bool:
        """Return whether a variant is called so."""
        return name in self._loaded()

    def __iter__(self) -> Iterator[str]:
        """List the names in the order in which they were registered."""
        return iter(self._loaded())

    def items(self) -> list[tuple[str, T]]:
        """Return names and variants in the order in which they were registered."""
        return list(self._loaded().items())

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._loaded())

    def describe(self) -> dict[str, str]:
        """Return each variant's first docstring line by name."""
        return {n: (self[n].__doc__ or "").strip().split("\n")[0] for n in self.names()}

    def configure(self, values: Mapping[str, Any], where: str, key: str = "name") -> Any:
        """Return the validated configuration of the variant that a mapping names.

        Args:
            values: the name, and the fields of the `Config` that stands at the variant's class.
            where: path under which they stand, for messages.
            key: under which the name stands.

        Raises:
            UnknownNameError: there is no such variant.
            ConfigError: the name is missing, or as `validate`.
        """
        if key not in values:
            names = ", ".join(self.names())
            raise ConfigError(f"{where}.{key} is missing; known are {names}")
        variant: Any = self[str(values[key])]
        return validate(variant.Config, values, where)

    def _loaded(self) -> dict[str, T]:
        self._import_own()
        plugins.load()
        return self._entries

    def _import_own(self) -> None:
        while self._waiting:
            # Taken out first: modules may ask the registry that imports them.
            package = self._waiting.pop(0)
            try:
                _import_all(package)
            except BaseException:
                self._waiting.insert(0, package)
                raise


def _import_all(name: str) -> None:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
        if not found.name.endswith(".__main__"):
            importlib.import_module(found.name)
