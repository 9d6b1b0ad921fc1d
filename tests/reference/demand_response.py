"""Gas of demand response in the contract, from the fitted table; no ledger charges it."""

from __future__ import annotations

from gridbazaar.ledger_sim.gas import Count, check, table


def response_offer_gas() -> float:
    """Gas of offering a reward for demand response in an interval."""
    return table()["response_offer"]["call"]


def response_gas(
    seats: Count, new: Count = 0.0, pages: Count = 1.0, fresh: Count | None = None
) -> Count:
    """Gas of paying rewards for demand response.

    Args:
        seats: that are paid.
        new: balances among them, and that of the pool which pays, that were zero before.
        pages: groups of 256 consecutive accounts that the seats fall into.
        fresh: of them, those of which none was paid for this interval before; None: all.

    Raises:
        LedgerError: where it takes more than one transaction may.
    """
    fresh = pages if fresh is None else fresh
    row = table()["response"]
    gas = row["call"] + row["seat"] * seats + row["new"] * new
    gas = gas + row["page"] * pages + row["fresh"] * fresh
    return check(gas, "paying for demand response")
