"""EIP-1559, Ethereum's base fee, which follows how full the blocks are."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import NonNegative
from gridbazaar.errors import ConfigError, LedgerError
from gridbazaar.ledger_sim.fees.protocol import FEE_RULES, Charge, FeeConfig, Usage

# EIP-1559: BASE_FEE_MAX_CHANGE_DENOMINATOR, ELASTICITY_MULTIPLIER.
_CHANGE_DENOMINATOR, _ELASTICITY = 8, 2
# Within these no intermediate result leaves int64.
MOST_BASE_FEE, MOST_GAS_TARGET = 2**62, 2**30 - 1


def next_base_fee(base_fee: Tensor, gas_used: Tensor, gas_target: Tensor | int) -> Tensor:
    """Return the base fee of the block that follows, int64 of the arguments' common shape.

    Bit-exact with the big integers of the specification (EIP-1559, "Fee market change for ETH 1.0
    chain", base fee in `validate_block`): b + max(b d // t // 8, 1) above the target,
    b - b d // t // 8 below, d = |gas_used - gas_target|. The product b d leaves int64 from about
    307 gwei on at the target of 60M gas limit, so that b is split into 8 t h + l first.

    Args:
        base_fee: int64 [...], wei per gas (or another smallest unit), 0 to 2**62.
        gas_used: int64 [...], by the block, 0 to 2 gas_target + 1 (an odd limit's half is rounded).
        gas_target: int64 [...] or one number, gas, half of the block's limit, 1 to 2**30 - 1.
    """
    excess = gas_used - gas_target
    distance = excess.abs()
    step = gas_target * _CHANGE_DENOMINATOR
    whole = base_fee // step
    rest = base_fee - whole * step
    change = whole * distance + rest * distance // step
    return base_fee + torch.maximum(change, excess > 0) * excess.sign()


class Eip1559Config(FeeConfig):
    """Parameters of Ethereum's price."""

    base_fee_wei: int = Field(
        ge=0,
        le=MOST_BASE_FEE,
        description="of the day's first block, per gas",
        json_schema_extra={"unit": "wei/gas"},
    )
    eur_per_coin: NonNegative = Field(
        description="price of 1e18 wei", json_schema_extra={"unit": "EUR"}
    )


@FEE_RULES.register("eip1559")
class Eip1559:
    """Ethereum's base fee: it rises after blocks over half full, falls after others, and is burned

    Others spend the same sum on gas whatever it costs, so that their traffic is `background` at the
    day's first base fee p0, and background x p0 / p at p. That their demand has unit elasticity is
    assumed: estimates reach from almost none (0.006, arXiv:2606.13555) to about one (Pantera
    Research Lab on Arbitrum, 2024), and with one the rule is linear in the base fee. Blocks without
    own transactions bring the base fee an eighth closer to the level at which others alone fill
    half of each; own ones that take a share s of the target for long hold it at 1 / (1 - s) of that
    level. Own blocks follow the specification to the wei; of those between, the sum is rounded.

    Blocks that nobody proposed leave the base fee as it is. It is kept in wei as int64 [B]; the
    price is in EUR per gas.
    """

    Config = Eip1559Config

    burned_share = 1.0
    flat: float | None = None

    def __init__(self, config: Eip1559Config) -> None:
        self.config = config
        self._eur_per_wei = config.eur_per_coin * 1e-18
        self._base_fee = torch.empty(0, dtype=torch.int64)

    def reset(self, seed: Tensor) -> None:
        """Start a day at the configured base fee."""
        self._base_fee = torch.full_like(seed, self.config.base_fee_wei)

    @property
    def state(self) -> Tensor:
        """Base fee of the next block, int64 [B] wei per gas."""
        return self._base_fee

    @state.setter
    def state(self, state: Tensor) -> None:
        self._base_fee = state

    def charge(self, usage: Usage) -> Charge:
        """Price one slot's blocks; a block without own transactions has the price of the next with.

        Raises:
            ConfigError: where the block's limit is not within 2 to 2**31 - 1 gas.
            LedgerError: where so many blocks are over half full that the base fee passes 2**62 wei.
        """
        most = _ELASTICITY * MOST_GAS_TARGET + 1
        if not _ELASTICITY <= usage.limit <= most:
            raise ConfigError(
                f"ledger.block_gas is {usage.limit:g}; the fee rule eip1559 aims at half of it: "
                f"allowed is {_ELASTICITY} to {most}"
            )
        limit = int(usage.limit)
        target = limit // _ELASTICITY
        spent = usage.background * self.config.base_fee_wei
        level = spent / target
        own, there = usage.gas > 0, usage.exists.long()
        passed = there.cumsum(dim=1)
        since = torch.zeros_like(self._base_fee)
        fee, levels, any_own = self._base_fee, [], own.any(dim=0)
        for block in any_own.nonzero().squeeze(1).tolist():
            now = _returned(fee, level, passed[:, block] - there[:, block] - since)
            levels.append(now)
            used = usage.gas[:, block] + spent / now.double().clamp(min=1)
            used = used.round_().clamp_(max=limit).long()
            followed = next_base_fee(now, used, target).clamp_(max=MOST_BASE_FEE)
            # Elsewhere in the batch it is a block like those before.
            fee = torch.where(own[:, block], followed, fee)
            since = torch.where(own[:, block], passed[:, block], since)
        self._base_fee = _returned(fee, level, there.sum(dim=1) - since)
        if int(self._base_fee.max()) >= MOST_BASE_FEE:
            raise LedgerError(
                f"the base fee passes {MOST_BASE_FEE} wei: own transactions alone keep the blocks "
                f"over half of ledger.block_gas {usage.limit:g}, and no price makes room for them; "
                "send fewer, or raise background_gas_per_s, which leaves them at most that half"
            )
        before = any_own.cumsum(0) - any_own.long()
        price = torch.stack([*levels, self._base_fee], dim=1)[:, before].double()
        return Charge(price * self._eur_per_wei, self._base_fee.double() * self._eur_per_wei)


def _returned(base_fee: Tensor, level: float, blocks: Tensor) -> Tensor:
    """Return the base fee after so many blocks of others' traffic alone, which tends to `level`."""
    kept = (1 - 1 / _CHANGE_DENOMINATOR) ** blocks.double()
    return base_fee + ((base_fee.double() - level) * (kept - 1)).round_().long()
