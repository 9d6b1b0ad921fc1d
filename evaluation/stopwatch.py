"""Stopwatch of a market's clearings, outside of it so that markets stay pure."""

from __future__ import annotations

import time
from typing import Any

import torch

from gridbazaar.envs.markets import Clearing, Context, Market, Orders


class Stopwatch:
    """A market that clears as another does, and keeps the time.

    Args:
        market: the mechanism.
    """

    def __init__(self, market: Market):
        self._market = market
        self.start()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._market, name)

    def start(self) -> None:
        """Set it to zero."""
        self._seconds, self._markets = 0.0, 0

    @property
    def milliseconds(self) -> float:
        """Mean per clearing and market since the start."""
        return 1e3 * self._seconds / self._markets

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Clear, as the mechanism does."""
        _finish(orders)
        start = time.perf_counter()
        clearing = self._market.clear(orders, context)
        _finish(orders)
        self._seconds += time.perf_counter() - start
        self._markets += len(orders.quantity_kw)
        return clearing


def _finish(orders: Orders) -> None:
    """Wait for a GPU, which works behind."""
    if orders.quantity_kw.is_cuda:
        torch.cuda.synchronize(orders.quantity_kw.device)
