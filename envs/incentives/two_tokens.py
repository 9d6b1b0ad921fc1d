"""Two tokens: trades paid in a token of fixed worth, which is issued against another in escrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import NonNegative, Positive, Share
from gridbazaar.envs.incentives.protocol import (
    INCENTIVES,
    GoodsConfig,
    Incentive,
    Kind,
    Movement,
    Outcome,
    share_of,
)
from gridbazaar.envs.incentives.reading import Reading

_HOURS_PER_YEAR = 8760
_ACCESS, _TRANSACTION = "access", "transaction"


class TwoTokensConfig(GoodsConfig):
    """Parameters of the two tokens."""

    transaction_eur: Positive = Field(
        description="EUR that a transaction token stands for",
        json_schema_extra={"unit": "EUR"},
    )
    access_eur: Positive = Field(
        description="EUR that an access token costs", json_schema_extra={"unit": "EUR"}
    )
    escrow_share: NonNegative = Field(
        description="worth of the access tokens in escrow over the day's payments that they back",
        json_schema_extra={"unit": "1"},
    )
    interest_per_year: Share = Field(description="on the money that the escrow binds")
    conversion_fee: Share = Field(
        description="of what a seller converts back into money, kept by the host"
    )


@INCENTIVES.register("two_tokens")
class TwoTokens(Incentive):
    """Two tokens as Power Ledger's: trades settle in one, which another in escrow backs.

    What a buyer pays for energy that its meter confirms becomes transaction tokens, which go to the
    sellers at once and are converted back: `conversion_fee` is the host's. For each of them, access
    tokens worth `escrow_share` are bought and held in escrow to the day's end, when they are sold
    at the same price; buyers bear the interest. What meters do not confirm is settled in money.

    Source: EPS Table 1 ("double-token mechanism") and 1 ("transaction tokens ... receive payments
    in real time"); Power Ledger, Tokenomics, powerledger.io: fixed worth of the transaction token,
    conversion at settlement, bond in access tokens.
    """

    Config = TwoTokensConfig
    payer = "application host"
    goods: ClassVar[dict[str, Kind]] = {_ACCESS: "escrow", _TRANSACTION: "coin"}
    backed_by: ClassVar[dict[str, str]] = {_ACCESS: "trade_eur", _TRANSACTION: "trade_eur"}

    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Settle what meters confirm of the trades in tokens."""
        c, nothing = self.config, torch.zeros_like(reading.trade_eur)
        paid = (-reading.trade_eur).clamp(min=0) * reading.kept
        earned = reading.trade_eur.clamp(min=0) * reading.kept
        volume = torch.minimum(paid.sum(-1, keepdim=True), earned.sum(-1, keepdim=True))
        paid, earned = share_of(paid) * volume, share_of(earned) * volume
        issued, came = paid / c.transaction_eur, earned / c.transaction_eur
        bound = paid * (c.escrow_share / c.access_eur)
        released = held[_ACCESS] + bound if reading.last else nothing
        interest = (held[_ACCESS] + bound) * (
            c.access_eur * c.interest_per_year * reading.slot_h / _HOURS_PER_YEAR
        )
        movements = {
            _ACCESS: Movement(bound, nothing, released, nothing),
            _TRANSACTION: Movement(issued, came - issued, came, nothing),
        }
        return Outcome(-earned * c.conversion_fee - interest, movements, {})
