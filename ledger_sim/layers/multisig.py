"""Multi-signature escrow: money that m of n signers release."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field, model_validator
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import (
    Ledger,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
)
from gridbazaar.ledger_sim.random_streams import OfSlot


class MultisigConfig(LayerConfig):
    """Parameters of the escrow."""

    signers: int = Field(ge=1, description="n", json_schema_extra={"unit": "1"})
    required: int = Field(ge=1, description="m, of the n", json_schema_extra={"unit": "1"})
    availability: float = Field(
        ge=0,
        le=1,
        description="probability that a signer is there in a slot",
        json_schema_extra={"unit": "1"},
    )
    signing_delay_s: NonNegative = Field(
        description="mean of the exponential time that a signer takes",
        json_schema_extra={"unit": "s"},
    )
    signature_gas: NonNegative = Field(
        description="to check a signature, where gas is measured",
        json_schema_extra={"unit": "gas"},
    )

    @model_validator(mode="after")
    def _enough(self) -> MultisigConfig:
        if self.required > self.signers:
            raise ValueError(f"required {self.required} of {self.signers} signers; at most all")
        return self


@LAYERS.register("multisig")
class Multisig(Layer):
    """Money in escrow until m of n signers release it; where fewer are there, it goes back

    Signatures are gathered off the chain and checked with the settlement, which waits for the m-th.
    Where fewer than m signers are there in a slot, the escrow returns what it holds and the slot
    counts as reverted; its transactions are paid for all the same.
    """

    Config = MultisigConfig

    def __init__(self, inner: Ledger, config: MultisigConfig) -> None:
        super().__init__(inner)
        self.config = config

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        got = self.inner.step(transactions, deadline_s)
        return replace(got, reverted=got.reverted | ~self.released(self.slot))

    def _signing_s(self, slot: int) -> Tensor:
        """Return when each signer has signed, float64 [B, n] s; inf where it is not there."""
        config, seed = self.config, randomness.fold(self.seed, slot)
        there = randomness.uniform(seed, OfSlot.SIGNER_THERE, (config.signers,), torch.float64)
        draw = randomness.uniform(seed, OfSlot.SIGNER_DELAY, (config.signers,), torch.float64)
        delay_s = draw.log().mul_(-config.signing_delay_s)
        return delay_s.masked_fill_(there >= config.availability, torch.inf)

    def released(self, slot: int) -> Tensor:
        """Return whether m signers are there in a slot, bool [B]."""
        return self._signing_s(slot).isfinite().sum(1) >= self.config.required

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Settle with m signatures."""
        m = self.config.required
        takes = self.settlement_gas(market)
        if self.evm:
            takes = takes + m * self.config.signature_gas * (takes > 0)
        written = self.inner.submit_market(replace(market, gas=takes))
        last_s = self._signing_s(self.slot).sort(1).values[:, m - 1]
        # Who does not get m signatures has lost the slot, and waits no longer.
        waited_s = torch.where(last_s < torch.inf, last_s, 0.0) * (takes > 0)
        return replace(written, delay_s=written.delay_s + waited_s.to(written.delay_s))
