"""Logger protocol and registry: where the scalars of a training go besides its main curve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gridbazaar.registry import Registry


@dataclass(frozen=True)
class Place:
    """Which run a logger writes of.

    Attributes:
        run: its folder.
        agent_steps: at which it starts or resumes; what was written beyond is not part of it.
        config: of the run, as plain data.
    """

    run: Path
    agent_steps: int
    config: Mapping[str, Any] = field(default_factory=dict)


class Logger(Protocol):
    """Writes one run's scalars; built with a `Place`."""

    @staticmethod
    def check() -> None:
        """Raise MissingExtraError where a library is missing."""

    def add(self, scalars: Mapping[str, float], agent_steps: int) -> None:
        """Take one iteration's scalars, by names such as `validation/imported_kwh_per_day`."""

    def flush(self) -> None:
        """Bring everything to disk or to the server."""

    def close(self) -> None:
        """Flush and let go."""


LOGGERS: Registry[Any] = Registry("logger", "gridbazaar.agents.learning.loggers")


def check(names: Iterable[str]) -> None:
    """See that loggers can be built.

    Raises:
        UnknownNameError: none is called so; gives the nearest.
        MissingExtraError: its library is not installed.
    """
    for name in names:
        LOGGERS[name].check()
