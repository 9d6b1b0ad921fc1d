"""Ethereum's base fee, which follows how full the blocks are."""

from __future__ import annotations

import torch
from torch import Tensor

from ledger_sim.base import LedgerError

# EIP-1559: BASE_FEE_MAX_CHANGE_DENOMINATOR, ELASTICITY_MULTIPLIER.
_CHANGE_DENOMINATOR, _ELASTICITY = 8, 2
# Within these no intermediate result leaves int64.
MOST_BASE_FEE, MOST_GAS_TARGET = 2**62, 2**30 - 1


def next_base_fee(base_fee: Tensor, gas_used: Tensor, gas_target: Tensor | int) -> Tensor:
    """Return the base fee of the block that follows.

    Bit-exact with the big integers of the specification (EIP-1559, "Fee market change for ETH 1.0
    chain", base fee in `validate_block`): b + max(b d // t // 8, 1) above the target,
    b - b d // t // 8 below, d = |gas_used - gas_target|. The product b d leaves int64 from about
    307 gwei on at the target of 60M gas limit, so that b is split into 8 t h + l first.

    Args:
        base_fee: int64 [...], wei per gas (or another smallest unit), 0 to 2**62.
        gas_used: int64 [...], by the block, 0 to 2 gas_target + 1 (an odd limit's half is rounded).
        gas_target: int64 [...] or one number, gas, half of the block's limit, 1 to 2**30 - 1.

    Returns:
        int64, the arguments' common shape.

    Raises:
        LedgerError: for another dtype or values out of these ranges.
    """
    _check(base_fee, gas_used, gas_target)
    return _follow(base_fee, gas_used, gas_target)


def _follow(base_fee: Tensor, gas_used: Tensor, gas_target: Tensor | int) -> Tensor:
    excess = gas_used - gas_target
    distance = excess.abs()
    step = gas_target * _CHANGE_DENOMINATOR
    whole = base_fee // step
    rest = base_fee - whole * step
    change = whole * distance + rest * distance // step
    return base_fee + torch.maximum(change, excess > 0) * excess.sign()


def _check(base_fee: Tensor, gas_used: Tensor, gas_target: Tensor | int) -> None:
    target = gas_target if isinstance(gas_target, Tensor) else torch.tensor(gas_target)
    for name, value in (("base_fee", base_fee), ("gas_used", gas_used), ("gas_target", target)):
        if value.dtype is not torch.int64:
            raise LedgerError(f"{name} has dtype {value.dtype}; it must be torch.int64")
    _check_range("base_fee", base_fee, 0, MOST_BASE_FEE)
    _check_range("gas_target", target, 1, MOST_GAS_TARGET)
    _check_range("gas_used", gas_used, 0, None)
    limit = _ELASTICITY * gas_target + 1
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
