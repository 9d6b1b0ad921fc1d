"""A coin for what a meter draws."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from gridbazaar.envs.incentives.metered_coin import MeteredCoin
from gridbazaar.envs.incentives.protocol import INCENTIVES
from gridbazaar.envs.incentives.reading import Reading


@INCENTIVES.register("toy_coin")
class ToyCoin(MeteredCoin):
    """A coin for every kWh of own sun that is used at home."""

    payer = "nobody else"
    backed_by: ClassVar[dict[str, str]] = {"coin": "pv_kwh"}

    def earned_kwh(self, reading: Reading) -> Tensor:
        """Return what did not leave the house."""
        return reading.pv_kwh - reading.sun_exported_kwh
