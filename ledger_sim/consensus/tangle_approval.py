"""A tangle instead of a chain: every transaction approves two earlier ones.

From Popov, "The Tangle" (version 1.4.3, 2018), section 3, for high load and tips chosen at random.
`weight_growth_per_s` is a closed form for comparison: the ledger is final by milestones instead.
"""

from __future__ import annotations

import math
from typing import TypeVar

from scipy import special
from torch import Tensor

from gridbazaar.ledger_sim.consensus.bounds import require

Number = TypeVar("Number", Tensor, float)

# Solves c exp(c) = 1/2: 0.35173.
WEIGHT_EXPONENT = float(special.lambertw(0.5).real)


def tips(rate_per_s: Number, delay_s: float) -> Number:
    """Return the mean number 2 lambda h of transactions that nothing approves yet.

    Args:
        rate_per_s: lambda, transactions that arrive.
        delay_s: h, from choosing what to approve until others see it.

    Raises:
        LedgerError: for a negative rate, or a delay that is not above 0.
    """
    require((rate_per_s >= 0) & (rate_per_s < math.inf), "rate_per_s", rate_per_s, "0 or more")
    _check(delay_s)
    return 2 * delay_s * rate_per_s


def weight_growth_per_s(delay_s: float) -> float:
    """Return c of exp(c t), as which a new transaction's cumulative weight grows: W(1/2) / h.

    It does until nearly all tips approve it, and from then on at the rate at which transactions
    arrive. Arguments and errors as for `tips`.
    """
    _check(delay_s)
    return WEIGHT_EXPONENT / delay_s


def _check(delay_s: float) -> None:
    require(0 < delay_s < math.inf, "delay_s", delay_s, "above 0 s")
