"""Growth of a tangle transaction's weight, in the closed form of Popov's paper.

"The Tangle" (version 1.4.3, 2018), section 3. The ledger is final by milestones instead.
"""

from __future__ import annotations

import math

from scipy import special

from gridbazaar.ledger_sim.consensus.bounds import require

# Solves c exp(c) = 1/2: 0.35173.
WEIGHT_EXPONENT = float(special.lambertw(0.5).real)


def weight_growth_per_s(delay_s: float) -> float:
    """Return c of exp(c t), as which a new transaction's cumulative weight grows: W(1/2) / h.

    It does until nearly all tips approve it, and from then on at the rate at which transactions
    arrive.

    Args:
        delay_s: h, from choosing what to approve until others see it.

    Raises:
        LedgerError: for a delay that is not above 0.
    """
    require(0 < delay_s < math.inf, "delay_s", delay_s, "above 0 s")
    return WEIGHT_EXPONENT / delay_s
