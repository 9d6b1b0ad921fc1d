"""Carbon credits: for emissions that own sun avoids, against those of what is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Money, NonNegative, Share
from gridbazaar.envs.incentives.protocol import (
    INCENTIVES,
    GoodsConfig,
    Incentive,
    Kind,
    Movement,
    Outcome,
)
from gridbazaar.envs.incentives.reading import Reading

_CREDIT, _EMITTED = "credit", "emitted_kg"


class CarbonConfig(GoodsConfig):
    """Parameters of credits, allowances and their price."""

    grid_kg_per_kwh: NonNegative = Field(
        description="CO2 of what the supplier sells, and that own sun avoids",
        json_schema_extra={"unit": "kg/kWh"},
    )
    allowance_kg_per_kwh: NonNegative = Field(
        description="allowances that a seat gets for its metered use",
        json_schema_extra={"unit": "kg/kWh"},
    )
    price_per_kg: Money = Field(description="EUR for a kg of CO2, bought or sold")
    obliged: bool = Field(
        description="whether a seat must buy what it lacks for its emissions at the day's end"
    )
    small_kwp: NonNegative = Field(
        description="PV of at most this size counts as small", json_schema_extra={"unit": "kWp"}
    )
    small_bonus: Share = Field(description="on the price, for small producers' credits")


@INCENTIVES.register("carbon_credits")
class CarbonCredits(Incentive):
    """Carbon credits for own sun, and allowances by use, against the emissions of what is drawn.

    A credit is a kg of CO2. It is issued for what generated sun avoids and, as an allowance, for
    metered use. At the day's end a seat's credits first offset its own emissions: what it drew from
    the supplier. The rest is sold to the carbon registry at its price, to small producers with
    a bonus; where seats are obliged, it sells them what they lack.

    Source: EPS 1 and 5.2.3 [48] (I-NUK: individuals "offset their daily carbon emissions"; own
    certified solar energy is recorded as carbon credit; "small solar energy producers higher
    prices"); IOT III-C [56, 57] (trade of electricity and carbon allowance). They print neither
    intensity nor price; one intensity all day and free allowances by use are assumed.
    """

    Config = CarbonConfig
    payer = "carbon registry"
    goods: ClassVar[dict[str, Kind]] = {_CREDIT: "credit"}
    backed_by: ClassVar[dict[str, str]] = {_CREDIT: "pv_kwh"}

    def begin(self, like: Tensor) -> dict[str, Tensor]:
        """Remember what was emitted."""
        return {_EMITTED: torch.zeros_like(like)}

    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Issue credits; offset, sell and buy at the day's end."""
        c = self.config
        issued = reading.pv_kwh * c.grid_kg_per_kwh + reading.used_kwh * c.allowance_kg_per_kwh
        emitted = memory[_EMITTED] + reading.from_supplier_kwh * c.grid_kg_per_kwh
        nothing = torch.zeros_like(issued)
        if not reading.last:
            movement = Movement(issued, nothing, nothing, nothing)
            return Outcome(nothing, {_CREDIT: movement}, {_EMITTED: emitted})
        available = held[_CREDIT] + issued
        offset = torch.minimum(available, emitted)
        small = (reading.pv_kwp > 0) & (reading.pv_kwp <= c.small_kwp)
        price = c.price_per_kg * (1 + c.small_bonus * small.to(issued))
        payment = (available - offset) * price
        if c.obliged:
            payment = payment - (emitted - offset) * c.price_per_kg
        movement = Movement(issued, nothing, available, nothing)
        return Outcome(payment, {_CREDIT: movement}, {_EMITTED: emitted})
