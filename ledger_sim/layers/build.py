"""Ledgers built from their configurations, with the layers that lie on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridbazaar.ledger_sim.chain.blockchain import Blockchain
from gridbazaar.ledger_sim.consensus.protocol import Consensus
from gridbazaar.ledger_sim.layers.protocol import wrap
from gridbazaar.ledger_sim.protocol import Ledger, LedgerConfig
from gridbazaar.ledger_sim.registry import LEDGERS, configure


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
