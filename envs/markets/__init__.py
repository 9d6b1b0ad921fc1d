"""Market mechanisms: one file each, found by name in MARKETS."""

from gridbazaar.envs.markets.order_list import Order, book_of
from gridbazaar.envs.markets.owners import Owners
from gridbazaar.envs.markets.protocol import (
    Claim,
    Clearing,
    Context,
    GridContext,
    Market,
    MarketConfig,
    Orders,
    clear_checked,
    uncrossed,
)
from gridbazaar.envs.markets.registry import MARKETS

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
    "Owners",
    "book_of",
    "clear_checked",
    "uncrossed",
]
