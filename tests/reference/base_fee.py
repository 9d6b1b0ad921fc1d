"""EIP-1559's next base fee with all arguments checked."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.fees import eip1559
from gridbazaar.ledger_sim.fees.eip1559 import MOST_BASE_FEE, MOST_GAS_TARGET


def next_base_fee(base_fee: Tensor, gas_used: Tensor, gas_target: Tensor | int) -> Tensor:
    """Return what `eip1559.next_base_fee` does; arguments as there.

    Raises:
        LedgerError: for another dtype than int64, or values out of its ranges.
    """
    _check(base_fee, gas_used, gas_target)
    return eip1559.next_base_fee(base_fee, gas_used, gas_target)


def _check(base_fee: Tensor, gas_used: Tensor, gas_target: Tensor | int) -> None:
    target = gas_target if isinstance(gas_target, Tensor) else torch.tensor(gas_target)
    for name, value in (("base_fee", base_fee), ("gas_used", gas_used), ("gas_target", target)):
        if value.dtype is not torch.int64:
            raise LedgerError(f"{name} has dtype {value.dtype}; it must be torch.int64")
    _check_range("base_fee", base_fee, 0, MOST_BASE_FEE)
    _check_range("gas_target", target, 1, MOST_GAS_TARGET)
    _check_range("gas_used", gas_used, 0, None)
    limit = 2 * gas_target + 1
    if (gas_used > limit).any():
        raise LedgerError(
            f"gas_used {gas_used.tolist()} exceeds the block's limit, twice gas_target "
            f"{target.tolist()}"
        )


def _check_range(name: str, value: Tensor, low: int, high: int | None) -> None:
    if not value.numel():
        return
    smallest, largest = (int(extreme) for extreme in value.aminmax())
    if smallest < low or (high is not None and largest > high):
        wrong = smallest if smallest < low else largest
        allowed = f"{low} or more" if high is None else f"{low} to {high}"
        raise LedgerError(f"{name} is {wrong}; allowed is {allowed}, so that int64 suffices")
