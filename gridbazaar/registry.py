"""Named variants: one file and one decorator line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from gridbazaar.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """The variants of one kind (market, ledger, bidder, ...), by name."""

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters a class or function under `name`.

        Raises ValueError where the name is taken.
        """

        def enter(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice; choose another name")
            self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        """Return the variant called `name`; raises UnknownNameError with the nearest name."""
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        return self._entries[name]

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._entries)

    def describe(self) -> dict[str, str]:
        """Return each variant's first docstring line by name."""
        return {n: (self._entries[n].__doc__ or "").strip().split("\n")[0] for n in self.names()}
