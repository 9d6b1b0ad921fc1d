"""Bilateral dispatch agreed in rounds, seat to seat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

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


@MARKETS.register("admm_parallel")
class AdmmParallel(Market):
    """Bilateral dispatch by ADMM without a coordinator: partners exchange proposals.

    In each round every seat sends each partner its proposal, and both compute the same centre and
    multiplier from the two proposals (`partners_round`):
        y <- argmin f_i + sum_j rho/2 |(y_ij - y_ji)/2 (last round) - y_ij + l_ij/rho|^2
        l <- l - rho/2 (y_ij + y_ji)
    Started alike, the proposals are those of the sequential form, as shown there; the messages are
    two per pair and round instead of one per seat.

    The limits and preferences are those of `bilateral_dispatch`; a pair's price is l.
    Source: Tang et al. (2024), "Exploring the potential of IoT-blockchain integration technology
    for energy community trading", eq. 3, after AlSkaif et al. (2022), "Blockchain-based fully
    peer-to-peer energy trading strategies for residential energy systems", IEEE Trans. Industrial
    Informatics 18(1).
    """

    Config = AdmmConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})
    messages_on_ledger = False
    contract = "none"

    def __init__(self, config: AdmmConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade what was agreed; nothing in a market that did not agree in time."""
        return clear_by_rounds(orders, context, self.config, PARTNERS, with_contract=False)


def partners_round(
    at: Rounds, config: AdmmConfig, proposals: Callable[[Rounds, float], Tensor] = propose
) -> Rounds:
    """Play a round of the equations above; `relaxation` takes each step by that much longer.

    `proposals` gives y; another than `propose` stands for seats that do not keep to it.
    """
    y = proposals(at, config.rho)
    centre = torch.lerp(at.centre, (y - partner(y)) / 2, config.relaxation)
    multiplier = at.multiplier - config.relaxation * config.rho / 2 * (y + partner(y))
    return replace(at, proposal=y, centre=centre, multiplier=multiplier)


PARTNERS = Update(partners_round, price_sign=1.0)
