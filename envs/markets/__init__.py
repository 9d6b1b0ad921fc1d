"""Market mechanisms: one file each, found by name in MARKETS."""

import importlib
import pkgutil

from envs.markets.base import Claim, Clearing, Context, Market, MarketConfig, Orders, Place
from envs.markets.order_list import Order, book_of
from envs.markets.registry import MARKETS

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

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
]
