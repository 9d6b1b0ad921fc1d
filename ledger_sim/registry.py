"""Ledgers by name, and how one is built from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridbazaar.ledger_sim.chain.blockchain import Blockchain
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus
from gridbazaar.ledger_sim.layers.protocol import wrap
from gridbazaar.ledger_sim.protocol import Ledger, LedgerConfig
from gridbazaar.registry import Registry

# A chain is registered by its consensus, any other ledger by itself.
LEDGERS: Registry[type[Ledger] | type[Consensus[Any]]] = Registry(
    "ledger", "gridbazaar.ledger_sim.ideal", "gridbazaar.ledger_sim.consensus"
)


def make(config: LedgerConfig | Mapping[str, Any]) -> Ledger:
    """Build a ledger from its validated configuration, or from all of its parameters by name.

    Values may come with their sources. What a configuration file leaves to the defaults of a layer
    is filled in by `gridbazaar.configs.complete_ledger`.

    Raises:
        UnknownNameError: for an unknown kind, fee rule or layer, with the nearest known one.
        ConfigError: for unknown, missing or impossible parameters.
    """
    if not isinstance(config, LedgerConfig):
        config = configure(config)
    kind: Any = LEDGERS[config.name]
    built = kind(config)
    ledger: Ledger = Blockchain(built) if isinstance(built, Consensus) else built
    for layer in config.layers:
        ledger = wrap(ledger, layer)
    return ledger


def configure(values: Mapping[str, Any]) -> LedgerConfig:
    """Return a ledger's validated configuration; errors as of `make`, but for fees and layers."""
    config: LedgerConfig = LEDGERS.configure(values, "ledger")
    return config


def consensus_of(config: ChainConfig) -> Consensus[Any]:
    """Return the consensus of a validated chain's configuration."""
    kind: Any = LEDGERS[config.name]
    consensus: Consensus[Any] = kind(config)
    return consensus
