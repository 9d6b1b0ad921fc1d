"""Bilateral dispatch agreed in rounds, seat to seat."""

from __future__ import annotations

from typing import ClassVar

from envs.markets.admm import AdmmConfig, clear_by_rounds
from envs.markets.base import MARKETS, Claim, Clearing, Context, Orders


@MARKETS.register("admm_parallel")
class AdmmParallel:
    """Bilateral dispatch by ADMM without a coordinator: partners exchange proposals.

    In each round every seat sends each partner its proposal, and both compute the same middle
    and multiplier from the two proposals:
        y <- argmin f_i + sum_j rho/2 |(y_ij - y_ji)/2 (last round) - y_ij + l_ij/rho|^2
        l <- l - rho/2 (y_ij + y_ji)
    The proposals are those of the sequential form (its multipliers with the other sign); the
    messages are two per pair and round instead of one per seat.

    The limits and preferences are those of `bilateral_dispatch`; a pair's price is its multiplier.
    Source: Tang et al. (2024), "Exploring the potential of IoT-blockchain integration technology
    for energy community trading", eq. 3, after AlSkaif et al. (2022), "Blockchain-based fully
    peer-to-peer energy trading strategies for residential energy systems", IEEE Trans. Industrial
    Informatics 18(1).
    """

    Config = AdmmConfig
    claims: ClassVar[frozenset[Claim]] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational"}
    )
    time_priority = False

    def __init__(self, config: AdmmConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade what was agreed; nothing in a market that did not agree in time."""
        return clear_by_rounds(orders, context, self.config, with_contract=False)
