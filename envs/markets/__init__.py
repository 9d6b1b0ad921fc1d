"""Market mechanisms: one file each, found by name in MARKETS."""

from envs.markets import grid_only, uniform_auction
from envs.markets.base import MARKETS, Clearing, Context, Market, MarketConfig, Orders

__all__ = [
    "MARKETS",
    "Clearing",
    "Context",
    "Market",
    "MarketConfig",
    "Orders",
    "grid_only",
    "uniform_auction",
]
