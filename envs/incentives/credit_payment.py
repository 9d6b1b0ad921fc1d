"""Credit-based payment: seats that hold too little borrow from a bank, at interest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Money, NonNegative, bounded
from gridbazaar.envs.incentives.protocol import INCENTIVES, Incentive, IncentiveConfig, Outcome
from gridbazaar.envs.incentives.reading import Reading

_DAY_H, _WALLET = 24, "wallet_eur"
_Rate = Annotated[
    NonNegative, bounded(0, 24, "a day", "at more a debt would double within the hour")
]


class CreditConfig(IncentiveConfig):
    """Parameters of the credit."""

    opening_eur: Money = Field(description="EUR that a seat holds as the day begins")
    limit_eur: Money = Field(description="EUR, most that the bank lends to a seat")
    interest_per_day: _Rate = Field(
        description="on what is borrowed", json_schema_extra={"unit": "1/day"}
    )
    penalty_per_day: _Rate = Field(
        description="on what is owed beyond the limit", json_schema_extra={"unit": "1/day"}
    )


@INCENTIVES.register("credit_payment")
class CreditPayment(Incentive):
    """Credit-based payment: who holds too little to pay its bill borrows, and pays interest.

    Every seat has a wallet, from which its bills are paid and into which its income goes. What is
    missing is borrowed from a credit bank, which pays at once, up to `limit_eur`; what is owed
    beyond is overdue and bears the penalty rate. Income repays first. Wallets end with the day.

    Source: EPS 5.2.3 [103]: a credit-based payment scheme "makes it possible for buyers who do not
    have enough coins to buy energy", with a loan price and a penalty rate. There both come of a
    Stackelberg game of bank and borrowers, whose payoffs the survey does not print; here they are
    given, and a seat borrows what it lacks.
    """

    Config = CreditConfig
    payer = "credit bank"
    backed_by: ClassVar[dict[str, str]] = {"loan": "bill_eur"}

    def begin(self, like: Tensor) -> dict[str, Tensor]:
        """Fill the wallets."""
        return {_WALLET: torch.full_like(like, self.config.opening_eur)}

    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Pay the bill from the wallet, and interest on what it lacks."""
        c = self.config
        wallet = memory[_WALLET] + reading.bill_eur
        owed = (-wallet).clamp(min=0)
        loan = owed.clamp(max=c.limit_eur)
        per_day = loan * c.interest_per_day + (owed - loan) * c.penalty_per_day
        interest = per_day * (reading.slot_h / _DAY_H)
        return Outcome(-interest, {}, {_WALLET: wallet - interest})
