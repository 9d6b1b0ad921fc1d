"""Mean waits for a place in a block, when transactions arrive at random and blocks have B places.

Both count in intervals T between blocks, and hold for every order of service that does not look at
what a transaction needs: by arrival as well as by tip. These are the closed forms that the
simulated waits are held against in the tests; no ledger computes with them. Arguments broadcast as
numpy arrays; scalars give floats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from gridbazaar.ledger_sim.consensus.bounds import require

_HALVINGS = 100


def wait_for_poisson_blocks(arrivals: Any, places: int) -> Any:
    """Return W/T where blocks come at random too, as in proof of work: the queue M/M^B/1.

    Its length is geometric with the root r in (0, 1) of r^(B+1) - (a + 1) r + a = 0, and
    W/T = r / (1 - r) / a by Little's law (Bailey, "On queueing processes with bulk service",
    J. R. Stat. Soc. B 16, 1954; a block takes up to B, and comes though it be empty). Here
    r = exp(-x), which keeps all digits where r is close to 1.

    Args:
        arrivals: a, mean number of transactions per interval, above 0.
        places: B, per block.

    Returns:
        Mean wait in intervals; inf from B arrivals per interval on.

    Raises:
        LedgerError: for arrivals not above 0, or less than one place.
    """
    rate = _checked(arrivals, places)
    # r + ... + r^B = a, without the root 1; it falls as x rises.
    low, high = np.zeros_like(rate), np.log1p(1 / rate)
    for _ in range(_HALVINGS):
        x = (low + high) / 2
        short = np.expm1(x) * rate > -np.expm1(-places * x)
        low, high = np.where(short, low, x), np.where(short, x, high)
    stable = rate < places
    with np.errstate(divide="ignore", over="ignore"):
        return np.where(stable, 1 / np.expm1(high) / rate, np.inf)[()]


def wait_for_regular_blocks(arrivals: Any, places: int) -> Any:
    """Return W/T where blocks come by the clock: the queue M/D^B/1.

    W/T = 1/2 + E[Q]/a, with Q what a block leaves behind: Q' = max(Q + A - B, 0), A Poisson of mean
    a. E[Q] = a / (2 (B - a)) - (B - 1 + a) / 2 + sum of 1 / (1 - z_k), k = 1 to B - 1, over the
    roots z^B = exp(a (z - 1)) within the unit circle (Janssen and van Leeuwaarden, "Analytic
    computation schemes for the discrete-time bulk service queue", Queueing Systems 50, 2005), which
    Lambert's W gives; equal to Spitzer's sum of E[max(A_l - l B, 0)] / l. Arguments, result and
    errors as for `wait_for_poisson_blocks`; W/T is right to 1e-14 B / a.
    """
    rate = _checked(arrivals, places)
    stable = rate < places
    a = np.where(stable, rate, places / 2)[..., None]
    load = a / places
    turns = np.exp(2j * np.pi * np.arange(1, places) / places)
    roots = -special.lambertw(-load * np.exp(-load) * turns) / load
    a = a[..., 0]
    left = a / (2 * (places - a)) - (places - 1 + a) / 2 + (1 / (1 - roots)).sum(-1).real
    return np.where(stable, 0.5 + np.maximum(left, 0.0) / a, np.inf)[()]


def _checked(arrivals: Any, places: int) -> np.ndarray:
    rate = np.asarray(arrivals, np.float64)
    require((rate > 0) & (rate < np.inf), "arrivals", rate, "above 0 per interval between blocks")
    whole = 1 <= places < np.inf and places == int(places)
    require(whole, "places", places, "a whole number from 1 on")
    return rate
