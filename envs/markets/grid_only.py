"""Absence of a local market: every seat trades with the grid alone."""

from __future__ import annotations

import torch

from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS


@MARKETS.register("grid_only")
class GridOnly(Market):
    """No local trade; the grid buys at feed-in and sells at retail."""

    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "truthful", "one_price"}
    )

    def __init__(self, config: MarketConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Clear nothing."""
        nothing = torch.zeros_like(orders.quantity_kw)
        return Clearing(
            cleared_kw=nothing,
            price=nothing,
            payment_eur=nothing,
            reference_price=nothing.new_full(nothing.shape[:1], torch.nan),
            converged=torch.ones_like(nothing[:, 0], dtype=torch.bool),
        )
