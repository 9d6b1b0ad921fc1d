"""Load-escalated fee: it leaps beyond a block's expected size, as on the XRP Ledger."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Money, Positive
from gridbazaar.ledger_sim.fees.protocol import FEE_RULES, Charge, FeeConfig, Usage


class LoadEscalatedConfig(FeeConfig):
    """Parameters of the escalated price."""

    price: Money = Field(
        description="for a unit of gas while there is no load",
        json_schema_extra={"unit": "EUR/gas"},
    )
    soft_limit: Positive = Field(
        description="gas that a block takes at that price",
        json_schema_extra={"unit": "gas"},
    )
    multiplier: float = Field(
        ge=1,
        le=1e6,
        description="of the price just beyond the soft limit",
        json_schema_extra={"unit": "1"},
    )
    burned_share: float = Field(
        ge=0,
        le=1,
        description="of the price; validators get the rest",
        json_schema_extra={"unit": "1"},
    )


@FEE_RULES.register("load_escalated")
class LoadEscalated:
    """A low price that leaps, and then grows with the square of the load, beyond a soft limit

    What finds k units of gas in the open block pays the price where k <= L, and multiplier x price
    x (k / L)^2 beyond (rippled, "Fees": the open ledger's escalation, in which the multiplier is
    the last ledger's median fee and at least 500). The limit L and the multiplier stay here as they
    are configured; there they follow the last ledgers. All of a block's transactions, others'
    traffic included, share what it charges alike.
    """

    Config = LoadEscalatedConfig

    flat: float | None = None
    state: Any = None  # nothing changes

    def __init__(self, config: LoadEscalatedConfig) -> None:
        self.config = config
        self.burned_share = config.burned_share

    def reset(self, seed: Tensor) -> None:
        """Nothing to carry."""

    def charge(self, usage: Usage) -> Charge:
        """Charge every block by its own load, and quote what the waiting ones leave."""
        config = self.config
        load = (usage.gas + usage.background).clamp(min=1)
        beyond = self._squares(load - 1) - self._squares(torch.full_like(load, config.soft_limit))
        escalated = config.multiplier / config.soft_limit**2 * beyond.clamp(min=0)
        levels = load.clamp(max=config.soft_limit + 1) + escalated
        found = usage.waiting + usage.background
        level = config.multiplier * (found / config.soft_limit) ** 2
        now = torch.where(found > config.soft_limit, level, 1.0)
        return Charge(levels / load * config.price, now * config.price)

    @staticmethod
    def _squares(count: Tensor) -> Tensor:
        """Return 1 + 4 + 9 + ... + count^2."""
        return count * (count + 1) * (2 * count + 1) / 6
