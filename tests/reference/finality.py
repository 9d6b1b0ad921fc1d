"""Confirmations that a wanted risk asks for: the inverse of `catch_up_probability`."""

from __future__ import annotations

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.consensus.bounds import require
from gridbazaar.ledger_sim.consensus.finality import Form, catch_up_probability

# A share of 0.4999 needs about 3e8 confirmations for a risk of 1e-9.
_MOST_CONFIRMATIONS = 1 << 40


def confirmations_needed(attacker_share: float, risk: float, form: Form = "exact") -> int:
    """Return the fewest confirmations that leave less than `risk` of being overtaken.

    Args:
        attacker_share: of all hash power, 0 to less than one half.
        risk: probability, more than 0 and at most 1.
        form: as for `catch_up_probability`.

    Raises:
        LedgerError: where no number of confirmations is enough, or it is beyond 2**40.
    """
    require(0 < risk <= 1, "risk", risk, "a probability above 0, at most 1")
    require(
        0 <= attacker_share < 0.5,
        "attacker_share",
        attacker_share,
        "0 to less than 0.5: a majority overtakes every block",
    )

    def enough(z: int) -> bool:
        return bool(catch_up_probability(attacker_share, z, form) < risk)

    high = 1
    while not enough(high):
        high *= 2
        if high > _MOST_CONFIRMATIONS:
            raise LedgerError(
                f"attacker_share {attacker_share} and risk {risk} need more than "
                f"{_MOST_CONFIRMATIONS} confirmations; allow more risk or assume a smaller attacker"
            )
    low = high // 2
    if enough(low):
        return low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
