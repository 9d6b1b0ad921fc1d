"""Bilateral dispatch agreed in rounds, by a contract that every seat writes to."""

from __future__ import annotations

from typing import ClassVar

from envs.markets.admm import AdmmConfig, clear_by_rounds
from envs.markets.base import MARKETS, Claim, Clearing, Context, Orders


@MARKETS.register("admm_sequential")
class AdmmSequential:
    """Bilateral dispatch by ADMM with a contract as coordinator.

    In each round every seat sends its proposals y_ij to the contract, which answers with
    z_ij = -z_ji and the multipliers:
        y <- argmin f_i + sum_j rho/2 |y_ij - z_ij + l_ij/rho|^2
        z <- argmin over z_ij = -z_ji of sum rho/2 |y_ij - z_ij + l_ij/rho|^2
        l <- l + rho (y_ij - z_ij)
    A message per seat and round goes to the ledger; the contract's answer is read from its state.

    The limits and preferences are those of `bilateral_dispatch`; a pair's price is its multiplier.
    Source: Tang et al. (2024), "Exploring the potential of IoT-blockchain integration technology
    for energy community trading", eq. 2, after Münsing, Mather and Moura (2017), "Blockchains for
    decentralized optimization of energy resources in microgrid networks", IEEE CCTA.
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
        return clear_by_rounds(orders, context, self.config, with_contract=True)
