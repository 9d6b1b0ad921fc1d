"""Probability that an attacker's longer chain overtakes a block with so many confirmations.

Arguments broadcast as numpy arrays; scalars give floats.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import special

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.consensus.bounds import require

Form = Literal["exact", "poisson"]


def catch_up_probability(attacker_share: Any, confirmations: Any, form: Form = "exact") -> Any:
    """Return the probability that an attacker ever draws level.

    Args:
        attacker_share: q, the attacker's part of all hash power, 0 to 1. From one half on it
            catches up for certain.
        confirmations: z, blocks from the payment's own block on, 0 or more.
        form: exact: I_{4pq}(z, 1/2), the regularised incomplete beta function with p = 1 - q
            (Grunspan and Pérez-Marco, "Double spend races", arXiv:1702.02867; equal to the sum in
            Rosenfeld, "Analysis of hashrate-based double-spending", arXiv:1402.2009). poisson: the
            bitcoin paper's (Nakamoto 2008, section 11), which lets honest blocks come at their
            expected rate and is lower: 2.4 times at q = 0.1, z = 6.

    Returns:
        Probability, float or array of the arguments' common shape.

    Raises:
        LedgerError: for a share outside 0 to 1, a negative number of confirmations or another form.
    """
    q, z = np.broadcast_arrays(
        np.asarray(attacker_share, np.float64), np.asarray(confirmations, np.float64)
    )
    require((q >= 0) & (q <= 1), "attacker_share", q, "0 to 1")
    require((z >= 0) & (z < np.inf), "confirmations", z, "0 or more blocks")
    if form not in ("exact", "poisson"):
        raise LedgerError(f"form is {form!r}; it is 'exact' or 'poisson'")
    minority = np.minimum(q, 0.5)
    rule = _exact if form == "exact" else _poisson
    return np.where(q < 0.5, rule(minority, z), 1.0)[()]


def _exact(q: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.where(z > 0, special.betainc(np.maximum(z, 1.0), 0.5, 4 * q * (1 - q)), 1.0)


def _poisson(q: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return Nakamoto's sum over the attacker's blocks k with no terms of opposite sign.

    With r = q / p and Poisson mean z r, the part of k <= z is e^(z - z r) r^z times the probability
    that a Poisson number of mean z is at most z.
    """
    ratio = q / (1 - q)
    level = np.exp(special.xlogy(z, ratio) + z * (1 - ratio))
    return special.gammainc(z + 1, z * ratio) + level * special.gammaincc(z + 1, z)
