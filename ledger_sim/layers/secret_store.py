"""Secret store: documents off the chain, hashes on it, and keys in parts on servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import (
    Ledger,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
)
from gridbazaar.ledger_sim.random_streams import OfSlot


class SecretStoreConfig(LayerConfig):
    """Parameters of the secret store."""

    servers: int = Field(
        ge=1,
        le=1000,
        description="n, that hold a part of each key",
        json_schema_extra={"unit": "1"},
    )
    threshold: int = Field(
        ge=1, description="parts that a reader needs, of the n", json_schema_extra={"unit": "1"}
    )
    availability: float = Field(
        ge=0,
        le=1,
        description="probability that a server is there in a slot",
        json_schema_extra={"unit": "1"},
    )
    answer_s: NonNegative = Field(
        description="mean of the exponential time in which a server answers",
        json_schema_extra={"unit": "s"},
    )
    document_bytes: NonNegative = Field(
        description="of an order with its encryption", json_schema_extra={"unit": "B"}
    )
    hash_bytes: NonNegative = Field(
        description="that stands on the chain for it", json_schema_extra={"unit": "B"}
    )
    seats: int = Field(
        ge=2,
        description="fewest seats in a volume that is published",
        json_schema_extra={"unit": "1"},
    )

    @model_validator(mode="after")
    def _enough(self) -> SecretStoreConfig:
        if self.threshold > self.servers:
            raise ValueError(f"threshold {self.threshold} of {self.servers} servers; at most all")
        return self


@LAYERS.register("secret_store")
class SecretStore(Layer):
    """Orders lie encrypted off the chain, their hashes on it; t of n key servers let readers read

    As in the secret store of Parity Ethereum, which Grid Singularity's chain uses (EPS Table 1
    [71]): each document has a key, n servers hold a part of it each, and t of them must find that
    the reader is allowed. Who clears the market is a reader, and gets all keys at once, when the
    t-th server has answered. With fewer there, nobody reads the orders and the slot is lost.
    Clearing goes on off the chain; net payments, and sums over at least `seats` volumes, are
    written. `gridbazaar.ledger_sim.record.secret_store` does it with real keys.

    Attributes:
        chain_bytes, stored_bytes: float64 [B], of orders since the day began: hashes in blocks, and
            documents in the store.
    """

    Config = SecretStoreConfig

    changes = "privacy"

    def __init__(self, inner: Ledger, config: SecretStoreConfig) -> None:
        super().__init__(inner)
        self.config = config
        self.chain_bytes = self.stored_bytes = torch.empty(0, dtype=torch.float64)

    def reset(self, seed: Tensor) -> None:
        """Start a day with an empty store; `seed` int64 [B]."""
        super().reset(seed)
        self.chain_bytes = self.stored_bytes = torch.zeros_like(seed, dtype=torch.float64)

    def _get_parts(self) -> Any:
        return super()._get_parts(), self.chain_bytes, self.stored_bytes

    def _set_parts(self, parts: Any) -> None:
        beneath, self.chain_bytes, self.stored_bytes = parts
        super()._set_parts(beneath)

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        takes = transactions.gas
        if self.evm:  # a hash is kept as one word, as a commitment is
            takes = self.order_gas(transactions) - self.schedule.order + gas.commit_gas()
        got = self.inner.step(replace(transactions, gas=takes), deadline_s)
        sent = transactions.sent.sum(1)
        self.stored_bytes = self.stored_bytes + sent * self.config.document_bytes
        self.chain_bytes = self.chain_bytes + sent * self.config.hash_bytes
        share = self.gas(gas.commit_gas() / self.schedule.order)
        return replace(
            got, reverted=got.reverted | ~self.readable(self.slot), base_fee=got.base_fee * share
        )

    def _answers_s(self, slot: int) -> Tensor:
        """Return when each server has answered, float64 [B, n] s; inf where it is not there."""
        config, seed = self.config, randomness.fold(self.seed, slot)
        there = randomness.uniform(seed, OfSlot.SERVER_THERE, (config.servers,), torch.float64)
        draw = randomness.uniform(seed, OfSlot.SERVER_DELAY, (config.servers,), torch.float64)
        delay_s = draw.log().mul_(-config.answer_s)
        return delay_s.masked_fill_(there >= config.availability, torch.inf)

    def readable(self, slot: int) -> Tensor:
        """Return whether a slot's orders can be read: enough servers are there, bool [B]."""
        return self._answers_s(slot).isfinite().sum(1) >= self.config.threshold

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Pay net on the chain and publish sums, once the keys are there."""
        settled = (market.traders > 0).to(market.messages)
        takes = self.settlement_gas(market)
        if self.evm and market.gas is None:
            takes = gas.batch_gas(market.traders) * settled
        takes = takes + self.gas(gas.root_gas()) * settled
        nothing = torch.zeros_like(market.messages)
        written = self.inner.submit_market(
            replace(market, rounds=nothing, messages=nothing).and_beside(takes, settled)
        )
        last_s = self._answers_s(self.slot).sort(1).values[:, self.config.threshold - 1]
        # Where too few answer, the slot is lost, and nobody waits longer.
        waited_s = torch.where(last_s < torch.inf, last_s, 0.0) * settled
        return replace(written, delay_s=written.delay_s + waited_s.to(written.delay_s))
