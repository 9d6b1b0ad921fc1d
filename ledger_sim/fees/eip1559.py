"""Ethereum's base fee, which follows how full the blocks are."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from ledger_sim.base import LedgerError
from ledger_sim.fees.base import Charge, FeeConfig, Usage, fee_rule

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


class Eip1559Config(FeeConfig):
    """Parameters of Ethereum's price."""

    base_fee_wei: int = Field(
        ge=0,
        le=MOST_BASE_FEE,
        description="of the day's first block, per gas",
        json_schema_extra={"unit": "wei/gas"},
    )
    eur_per_coin: float = Field(
        ge=0, description="price of 1e18 wei", json_schema_extra={"unit": "EUR"}
    )


@fee_rule("eip1559", Eip1559Config)
class Eip1559:
    """Ethereum's base fee: it rises after blocks over half full, falls after others, and is burned

    Blocks that nobody proposed leave it as it is. It is kept in wei as int64 [B]; the price is in
    EUR per gas.
    """

    burned_share = 1.0
    flat: float | None = None

    def __init__(self, config: Eip1559Config) -> None:
        self.config = config
        self._eur_per_wei = config.eur_per_coin * 1e-18
        self._base_fee = torch.empty(0, dtype=torch.int64)

    def reset(self, seed: Tensor) -> None:
        """Start a day at the configured base fee."""
        self._base_fee = torch.full_like(seed, self.config.base_fee_wei)

    def charge(self, usage: Usage) -> Charge:
        """Price one slot's blocks.

        Raises:
            LedgerError: where the block's limit is not within 2 to 2**31 - 1 gas, or so many blocks
                are over half full that the base fee passes 2**62 wei.
        """
        most = _ELASTICITY * MOST_GAS_TARGET + 1
        if not _ELASTICITY <= usage.limit <= most:
            raise LedgerError(
                f"ledger.block_gas is {usage.limit:g}; the fee rule eip1559 aims at half of it: "
                f"allowed is {_ELASTICITY} to {most}"
            )
        target = int(usage.limit) // _ELASTICITY
        used = (usage.gas + usage.background).round().long().clamp(max=int(usage.limit))
        # A block that is just half full, or not there, leaves the base fee.
        moves = (usage.exists & (used != target)).any(dim=0)
        levels = [self._base_fee]
        for block in moves.nonzero().squeeze(1).tolist():
            followed = _follow(levels[-1], used[:, block], target).clamp_(max=MOST_BASE_FEE)
            levels.append(torch.where(usage.exists[:, block], followed, levels[-1]))
        self._base_fee = levels[-1]
        if int(self._base_fee.max()) == MOST_BASE_FEE:
            raise LedgerError(
                f"the base fee passes {MOST_BASE_FEE} wei: background_gas_per_s keeps the blocks "
                f"at {usage.background:g} gas, over half of block_gas {usage.limit:g}; lower it"
            )
        before = moves.cumsum(0) - moves.long()
        price = torch.stack(levels, dim=1)[:, before].double() * self._eur_per_wei
        return Charge(price, self._base_fee.double() * self._eur_per_wei)
