"""Bilateral dispatch agreed in rounds, by a contract that every seat writes to."""

from __future__ import annotations

from dataclasses import replace

import torch

from gridbazaar.envs.markets.bilateral.admm import (
    AdmmConfig,
    Rounds,
    Update,
    clear_by_rounds,
    partner,
    propose,
)
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, Orders
from gridbazaar.envs.markets.registry import MARKETS


@MARKETS.register("admm_sequential")
class AdmmSequential(Market):
    """Bilateral dispatch by ADMM with a contract as coordinator.

    In each round every seat sends its proposals y_ij to the contract, which answers with
    z_ij = -z_ji and the multipliers (`contract_round`):
        y <- argmin f_i + sum_j rho/2 |y_ij - z_ij + l_ij/rho|^2
        z <- argmin over z_ij = -z_ji of sum rho/2 |y_ij - z_ij + l_ij/rho|^2
        l <- l + rho (y_ij - z_ij)
    A message per seat and round goes to the ledger; the contract's answer is read from its state.

    The limits and preferences are those of `bilateral_dispatch`; a pair's price is -l.
    Source: Tang et al. (2024), "Exploring the potential of IoT-blockchain integration technology
    for energy community trading", eq. 2, after Münsing, Mather and Moura (2017), "Blockchains for
    decentralized optimization of energy resources in microgrid networks", IEEE CCTA.
    """

    Config = AdmmConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})

    def __init__(self, config: AdmmConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade what was agreed; nothing in a market that did not agree in time."""
        return clear_by_rounds(orders, context, self.config, CONTRACT, with_contract=True)


def contract_round(at: Rounds, config: AdmmConfig) -> Rounds:
    """Play a round of the equations above; `relaxation` moves y past z before the contract sees it.

    With a_ij = y_ij + l_ij/rho the contract's argmin is z_ij = (a_ij - a_ji)/2, so that
    l <- l + rho (y - z) = (l_ij + l_ji)/2 + rho/2 (y_ij + y_ji): alike for both partners from the
    first round on, after which z_ij = (y_ij - y_ji)/2. That is eq. 3 with -l for its l.
    """
    rho = config.rho
    proposal = propose(at, rho)
    y = torch.lerp(at.centre, proposal, config.relaxation)
    asked = y + at.multiplier / rho
    z = (asked - partner(asked)) / 2
    multiplier = at.multiplier + rho * (y - z)
    return replace(at, proposal=proposal, centre=z, multiplier=multiplier)


CONTRACT = Update(contract_round, price_sign=-1.0)
