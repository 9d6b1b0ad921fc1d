"""Prepaid accounts: an order is carried only where its sender can pay for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import (
    Ledger,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
)


class PrepaidAccountsConfig(LayerConfig):
    """Parameters of the deposits."""

    deposit: NonNegative = Field(
        description="that each account holds at the day's start", json_schema_extra={"unit": "EUR"}
    )


@LAYERS.register("prepaid_accounts")
class PrepaidAccounts(Layer):
    """The payer's funds are checked before a block: an order that it cannot pay for is refused

    Every account starts the day with a deposit. An order is worth the most that its sender may have
    to pay for it, with its tip; where the account holds less, it is not sent on, and costs nothing
    (P2P 2.3.1: the transaction's sender must have the funds). Fees of orders and the market's
    payments go through the account; a slot that is lost moves nothing. The market's own fees are
    billed apart. Only the outermost layer sees what orders are worth: layers on top of this one
    that send other transactions let them pass.
    """

    Config = PrepaidAccountsConfig

    def __init__(self, inner: Ledger, config: PrepaidAccountsConfig) -> None:
        super().__init__(inner)
        self.config = config
        self._funds: Tensor | None = None
        self._lost: Tensor | None = None

    def reset(self, seed: Tensor) -> None:
        """Start a day with the deposits alone; `seed` int64 [B]."""
        super().reset(seed)
        self._funds = self._lost = None

    def _get_parts(self) -> Any:
        return super()._get_parts(), self._funds, self._lost

    def _set_parts(self, parts: Any) -> None:
        beneath, self._funds, self._lost = parts
        super()._set_parts(beneath)

    def funds(self, like: Tensor) -> Tensor:
        """Return what each account holds, float64 [B, N]; `like` has that shape."""
        if self._funds is None:
            return torch.full_like(like, self.config.deposit, dtype=torch.float64)
        return self._funds

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        funds = self.funds(transactions.tip)
        sent = transactions.sent
        if transactions.amount is not None:
            sent = sent & (transactions.amount + transactions.tip <= funds)
        got = self.inner.step(replace(transactions, sent=sent), deadline_s)
        self._funds, self._lost = funds - got.fee, got.reverted
        return got

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write as ever, and pay the accounts what stands."""
        if market.payments is not None and self._funds is not None and self._lost is not None:
            self._funds = self._funds + market.payments * (~self._lost).unsqueeze(-1)
        return self.inner.submit_market(market)
