"""Demurrage: a local currency for shared energy that loses worth until it is spent."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gridbazaar.envs.incentives.metered_coin import MeteredCoin
from gridbazaar.envs.incentives.protocol import INCENTIVES
from gridbazaar.envs.incentives.reading import Reading


@INCENTIVES.register("demurrage")
class Demurrage(MeteredCoin):
    """A currency issued per kWh shared that loses worth with time, and pays for energy drawn.

    A seat earns coins for what it exports. A coin pays `redeem_price` of the bill of as many kWh as
    one coin was issued for: what a seat imports is paid with its coins as far as they reach. Those
    that wait lose `demurrage_per_h`, so that who earned at noon gains by using energy soon rather
    than late. What is left at the day's end is exchanged, demurrage off.

    Source: DER [19] and P2P Table 3 [15] (Yahaya et al. 2020, "Blockchain based sustainable local
    energy trading considering home energy management and demurrage mechanism", Sustainability 12).
    The papers name the mechanism; rate and price are assumed.
    """

    payer = "currency board"
    backed_by: ClassVar[dict[str, str]] = {"coin": "exported_kwh"}

    def earned_kwh(self, reading: Reading) -> Tensor:
        """Return what is shared."""
        return reading.exported_kwh

    def redeemed(self, available: Tensor, reading: Reading) -> Tensor:
        """Spend on what is drawn; all at the day's end."""
        if reading.last:
            return available
        spent = torch.minimum(available, reading.imported_kwh / self.config.kwh_per_coin)
        return spent + (available - spent) * self.config.redeem_share
