"""Fixed fee: the same price for every unit of gas at every time."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor

from gridbazaar.config import Money
from gridbazaar.ledger_sim.fees.protocol import FEE_RULES, Charge, FeeConfig, Usage


class FixedConfig(FeeConfig):
    """Parameters of the fixed price."""

    price: Money = Field(
        description="charged for a unit of gas", json_schema_extra={"unit": "EUR/gas"}
    )
    burned_share: float = Field(
        ge=0, le=1, description="of the price; validators get the rest",
        json_schema_extra={"unit": "1"},
    )  # fmt: skip


@FEE_RULES.register("fixed")
class Fixed:
    """A fixed price per unit of gas"""

    state: Any = None  # nothing changes
    Config = FixedConfig

    def __init__(self, config: FixedConfig) -> None:
        self.burned_share = config.burned_share
        self.flat: float | None = config.price

    def reset(self, seed: Tensor) -> None:
        """Nothing to carry."""

    def charge(self, usage: Usage) -> Charge:
        """Charge the same for every block."""
        assert self.flat is not None
        return Charge(self.flat, self.flat)
