"""Market mechanisms: one file each, found by name in MARKETS."""

import importlib
import pkgutil

from gridbazaar.envs.markets.order_list import Order, book_of
from gridbazaar.envs.markets.protocol import (
    Claim,
    Clearing,
    Context,
    GridContext,
    Market,
    MarketConfig,
    Orders,
)
from gridbazaar.envs.markets.registry import MARKETS

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = [
    "MARKETS",
    "Claim",
    "Clearing",
    "Context",
    "GridContext",
    "Market",
    "MarketConfig",
    "Order",
    "Orders",
    "book_of",
]
