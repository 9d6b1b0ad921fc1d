"""Named variants: one file and one decorator line each."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


_SHOWN = 25


def nearest(given: str, known: Iterable[str]) -> str:
    """Return one line that proposes the nearest known name and lists the first of all names."""
    known = list(known)
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    rest = f", and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"{hint}known are {', '.join(known[:_SHOWN]) or 'none'}{rest}"


class UnknownNameError(KeyError):
    """A name that is not among the known ones; the message gives the nearest of them."""

    def __init__(self, kind: str, given: str, known: Iterable[str]):
        super().__init__(f"unknown {kind} {given!r}: {nearest(given, sorted(set(known)))}")

    def __str__(self) -> str:
        return str(self.args[0])


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
