"""One tree of errors: whatever this project refuses, it refuses with one of these.

GridBazaarError
├── ConfigError          a configuration that cannot be used
├── UnknownNameError     a name that is not among the known ones
├── ArgumentError        an action, day, seed or option that a world cannot take
├── PluginError          a plug-in that cannot be imported
├── MissingExtraError    an optional library that is not installed
├── DataError            input data that cannot be used
├── NetworkError         a grid that cannot be modelled
├── LedgerError          what a ledger cannot accept
├── RunError             a run's folder that cannot be started in or continued
│   └── CheckpointError  a checkpoint that is damaged or foreign
├── ResultsError         a results folder that must not be written
└── WorldError           the input was right, the world failed: exit code 1 instead of 2
    ├── OptimumError     no optimum was found
    └── BusyError        another process writes the same folder

A message says in one line what was given, what was expected and what to do; the commands print it
in place of a traceback. An OSError, a full disk say, is the world's too. Anything else is a fault
of this project, and the commands say where its traceback lies.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence

_SHOWN = 25


class GridBazaarError(Exception):
    """Whatever this project refuses; the message is one line that names the mend."""

    def __str__(self) -> str:
        # KeyError, a base of UnknownNameError, would show its message in quotes.
        return str(self.args[0]) if self.args else ""


class ConfigError(GridBazaarError, ValueError):
    """A configuration that cannot be used: where, what was given, and what is allowed."""


class UnknownNameError(GridBazaarError, KeyError):
    """A name that is not among the known ones; the message gives the nearest of them."""

    def __init__(self, kind: str, given: str, known: Iterable[str]):
        super().__init__(f"unknown {kind} {given!r}: {nearest(given, sorted(set(known)))}")


class ArgumentError(GridBazaarError, ValueError):
    """An action, day, seed or option that a world cannot take; the message names it."""


class PluginError(GridBazaarError, ImportError):
    """A plug-in that cannot be imported; the message names it and says why."""


class MissingExtraError(GridBazaarError, ImportError):
    """An optional library that is not installed; the message says how to install it."""

    def __init__(self, library: str, extra: str):
        super().__init__(
            f"{library} is not installed; install it with: pip install 'gridbazaar[{extra}]'"
        )


class DataError(GridBazaarError, ValueError):
    """Input data that cannot be used; the message names file, column or row."""


class NetworkError(GridBazaarError, ValueError):
    """A grid that cannot be modelled; the message names the element."""


class LedgerError(GridBazaarError, ValueError):
    """A transaction, deadline or chain that a ledger cannot accept."""


class RunError(GridBazaarError, ValueError):
    """A run's folder that cannot be started in or continued."""


class CheckpointError(RunError):
    """A checkpoint that is damaged, or was not written by this project."""


class ResultsError(GridBazaarError, ValueError):
    """A results folder that must not be written."""


class WorldError(GridBazaarError, RuntimeError):
    """The world failed, not the input: the same words may do at another time or place."""


class OptimumError(WorldError):
    """The solver found no optimum; the message says for which day and why."""


class BusyError(WorldError):
    """Another process writes the same folder; the message names it."""


_ELSEWHERE = "choose another place (folder=, out=)"
# What to do where the system refuses, by its error numbers.
_MENDS = {
    errno.ENOSPC: f"free some space there, or {_ELSEWHERE}",
    errno.EDQUOT: f"free some space there, or {_ELSEWHERE}",
    errno.EFBIG: f"raise the limit of a file's size, or {_ELSEWHERE}",
    errno.EROFS: f"make the place writable, or {_ELSEWHERE}",
    errno.EACCES: f"make the place accessible to you, or {_ELSEWHERE}",
    errno.EPERM: f"make the place accessible to you, or {_ELSEWHERE}",
    errno.ENOTDIR: f"a file stands where a folder must be; move it, or {_ELSEWHERE}",
    errno.EEXIST: f"a file stands where a folder must be; move it, or {_ELSEWHERE}",
    errno.EMFILE: "raise the number of open files, as by `ulimit -n 4096`",
    errno.EIO: f"the device failed; look after it, or {_ELSEWHERE}",
}


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory was refused; PyTorch says so by a RuntimeError."""
    refused = isinstance(error, RuntimeError) and "you tried to allocate" in str(error)
    return refused or isinstance(error, MemoryError)


def in_one_line(error: BaseException) -> str:
    """Return an error's message with its mend and its notes, in one line."""
    parts = [str(error)]
    if isinstance(error, OSError) and error.errno in _MENDS:
        parts.append(_MENDS[error.errno])
    elif is_out_of_memory(error):
        parts = ["out of memory", "take fewer markets or days at a time, or a smaller task"]
    elif not isinstance(error, GridBazaarError):
        parts = [f"{type(error).__name__}: {error}".removesuffix(": ")]
    parts.extend(getattr(error, "__notes__", []))
    return "; ".join(" ".join(part.split()) for part in parts)


def nearest(given: str, known: Iterable[str]) -> str:
    """Return one line that proposes the nearest known name and lists the first of all names."""
    known = list(known)
    near = _near(given, known)
    hint = f"did you mean {near!r}? " if near else ""
    rest = f", and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"{hint}known are {', '.join(known[:_SHOWN]) or 'none'}{rest}"


def _near(given: str, known: Sequence[str]) -> str | None:
    """Return the known name that is meant: beside it in its group first, by initials too."""
    group, _, last = given.rpartition(".")
    beside = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == group}
    initials = "".join(word[0] for word in last.split("_") if word)  # learning_rate -> lr
    if len(initials) > 1 and initials in beside:
        return beside[initials]
    for word, names in ((last, list(beside)), (given, known)):
        if close := difflib.get_close_matches(word, names, n=1, cutoff=0.5):
            return beside[close[0]] if names is not known else close[0]
    return None
