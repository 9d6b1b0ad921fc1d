"""Ledgers that carry transactions: inclusion, waiting, fees, finality and tamper-evident blocks.

They know transactions, accounts and money, the market's gas and the validators' own use of energy;
of prices per kWh, devices and the grid they know nothing. Everything is batched over `[B, N]`: B
independent ledgers with N accounts.
"""

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.layers.build import make
from gridbazaar.ledger_sim.layers.protocol import LAYERS
from gridbazaar.ledger_sim.protocol import (
    Contract,
    Inclusions,
    Ledger,
    LedgerConfig,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
)
from gridbazaar.ledger_sim.registry import LEDGERS, configure

__all__ = [
    "LAYERS",
    "LEDGERS",
    "Contract",
    "Inclusions",
    "Ledger",
    "LedgerConfig",
    "LedgerError",
    "MarketReceipts",
    "MarketTransactions",
    "Receipts",
    "Transactions",
    "configure",
    "make",
]
