"""SolarCoin: a coin for solar energy that is fed in, and a price at which coins are sold."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from gridbazaar.envs.incentives.metered_coin import CoinConfig, MeteredCoin
from gridbazaar.envs.incentives.protocol import INCENTIVES
from gridbazaar.envs.incentives.reading import Reading


class SolarCoinConfig(CoinConfig):
    """Parameters of SolarCoin."""

    metered: Literal["fed_in", "generated"] = Field(
        description="what a coin is issued for: own sun that left through the meter, or all of it"
    )


@INCENTIVES.register("solarcoin")
class SolarCoin(MeteredCoin):
    """SolarCoin: a coin for every so many kWh of solar energy fed in, sold at a given price.

    Whoever buys coins is outside the community: free additional income for those with PV.

    Source: EPS 5.3.3 ("for every kilowatt-hour of energy they produce and put into the grid, get a
    SolarCoin") and 8 ("a liquid asset that can be traded with government currencies").
    """

    Config = SolarCoinConfig
    payer = "coin exchange"
    backed_by: ClassVar[dict[str, str]] = {"coin": "pv_kwh"}

    def earned_kwh(self, reading: Reading) -> Tensor:
        """Return the sun that counts."""
        return reading.pv_kwh if self.config.metered == "generated" else reading.sun_exported_kwh
