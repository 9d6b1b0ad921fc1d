"""Registry of ledgers: every name, and the class that it is built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from gridbazaar.ledger_sim.protocol import LedgerConfig
from gridbazaar.registry import Registry


class LedgerKind(Protocol):
    """A ledger, or the consensus of a chain; built from one configuration.

    Attributes:
        Config: its parameters, a `LedgerConfig`.
    """

    Config: ClassVar[type[Any]]


# A chain is registered by its consensus, any other ledger by itself.
LEDGERS: Registry[type[LedgerKind]] = Registry(
    "ledger", "gridbazaar.ledger_sim.ideal", "gridbazaar.ledger_sim.consensus"
)


def configure(values: Mapping[str, Any]) -> LedgerConfig:
    """Return a ledger's validated configuration; fees and layers are checked when it is built.

    Raises:
        UnknownNameError: for an unknown kind, with the nearest known one.
        ConfigError: for unknown, missing or impossible parameters.
    """
    config: LedgerConfig = LEDGERS.configure(values, "ledger")
    return config
