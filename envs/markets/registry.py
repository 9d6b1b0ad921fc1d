"""Registry of market mechanisms, by name."""

from __future__ import annotations

from gridbazaar.envs.markets.protocol import Market
from gridbazaar.registry import Registry

MARKETS: Registry[type[Market]] = Registry("market", "gridbazaar.envs.markets")
