"""Probability of a fork while a block spreads, in the closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gridbazaar.ledger_sim.consensus.bounds import require
from gridbazaar.ledger_sim.consensus.propagation import Number


def fork_probability(delay_s: Number, interval_s: float) -> Number:
    """Return the probability 1 - exp(-D/T) that a rival block is found before all know of one.

    After Decker and Wattenhofer, "Information propagation in the Bitcoin network" (P2P 2013), with
    a Poisson process instead of their seconds of equal chances.

    Args:
        delay_s: D, mean time until a node hears of a block.
        interval_s: T, mean time between blocks of all nodes together.

    Raises:
        LedgerError: for a negative delay, or an interval that is not above 0.
    """
    require((delay_s >= 0) & (delay_s < math.inf), "delay_s", delay_s, "0 s or more")
    require(0 < interval_s < math.inf, "interval_s", interval_s, "above 0 s")
    blocks = delay_s / interval_s
    return -torch.expm1(-blocks) if isinstance(blocks, Tensor) else -math.expm1(-blocks)
