"""Market mechanisms: one file each, found by name in MARKETS."""

from gridbazaar.envs.markets.order_list import Order, book_of
from gridbazaar.envs.markets.protocol import (
    Claim,
    Clearing,
    Context,
    Market,
    MarketConfig,
    Orders,
    Place,
    clear_checked,
)
from gridbazaar.envs.markets.registry import MARKETS

__all__ = [
    "MARKETS",
    "Claim",
    "Clearing",
    "Context",
    "Market",
    "MarketConfig",
    "Order",
    "Orders",
    "Place",
    "book_of",
    "clear_checked",
]
