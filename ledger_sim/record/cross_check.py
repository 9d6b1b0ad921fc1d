"""Cross-check of two chains: payments worked out again from the contract's trades, and compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.errors import LedgerError

# Payments stand on a chain in millionths.
_STEP = 1e-6


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """Payment on the second chain that is not what the first one's trades come to.

    Attributes:
        seat: whose.
        expected: currency, worked out from the trades.
        found: currency, that stands there.
    """

    seat: int
    expected: float
    found: float


def inconsistencies(
    cleared_kwh: Tensor, price: Tensor, paid: Tensor, tolerance: float = _STEP
) -> list[Inconsistency]:
    """Compare a ledger block with its contract block (the verifier of EPS 5.3.1 [110]).

    Args:
        cleared_kwh: [N], each seat's trades in the contract block, positive sold.
        price: [N] currency/kWh, of those trades.
        paid: [N] currency, of the ledger block, positive received.
        tolerance: currency, that rounding may take.

    Returns:
        what differs, by seat; empty where the ledger block is what it must be.
    """
    expected = cleared_kwh.double() * price.double()
    # A number that is none differs from everything.
    wrong = ~((expected - paid.double()).abs() <= tolerance)
    return [
        Inconsistency(int(seat), float(expected[seat]), float(paid[seat]))
        for seat in torch.nonzero(wrong).flatten().tolist()
    ]


def check_copy(cleared_kwh: Tensor, price: Tensor, paid: Tensor) -> None:
    """Refuse a ledger block whose payments are not those of the contract block.

    Raises:
        LedgerError: names the first seat that is robbed or favoured, and by how much.
    """
    found = inconsistencies(cleared_kwh, price, paid)
    if found:
        one = found[0]
        raise LedgerError(
            f"seat {one.seat} is paid {one.found:.6f}, and its trades come to {one.expected:.6f}; "
            f"{len(found)} of {len(paid)} payments differ: the settlement was altered"
        )
