"""The errors of the data rooms.

ValueError
└── DataError           data or a rule for it that cannot be used
KeyError
└── UnknownNameError    a name that is not among the known ones
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DataError(ValueError):
    """Data that cannot be used: says what was found, what is expected and what to do."""


class UnknownNameError(KeyError):
    """A name that is not among the known ones; the message gives the nearest of them."""

    def __init__(self, kind: str, given: str, known: Iterable[str]):
        known = sorted(set(known))
        near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {given!r}: {hint}known are {', '.join(known) or 'none'}")

    def __str__(self) -> str:
        return str(self.args[0])
