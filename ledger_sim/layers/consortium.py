"""Consortium: a private chain for the market, and a public one that vouches for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.other_ledger import idle_step, ledger_of_slots
from gridbazaar.ledger_sim.layers.period import Period
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig, is_evm
from gridbazaar.ledger_sim.layers.two_chains import added, with_upkeep_of
from gridbazaar.ledger_sim.protocol import (
    Ledger,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
)
from gridbazaar.ledger_sim.random_streams import OfDay


class ConsortiumConfig(LayerConfig):
    """Parameters of the anchoring."""

    public_ledger: dict[str, Any] = Field(
        description="parameters of another ledger; a configuration file may give its name alone"
    )
    slots_per_anchor: int = Field(
        ge=1, description="slots that an anchor vouches for", json_schema_extra={"unit": "slots"}
    )
    final: Literal["private", "public"] = Field(
        description="private: the private chain's word is final; public: the anchor's is"
    )


@LAYERS.register("consortium")
class Consortium(Layer):
    """This ledger is private and carries everything; a public one holds a root of it now and then

    An anchor makes a later change of the private chain evident. Where it alone makes a settlement
    final, the wait for it and its own finality add to the private chain's. A slot is lost when the
    private chain loses it, and where the anchor is what counts, when the public one does.
    """

    Config = ConsortiumConfig

    def __init__(self, inner: Ledger, config: ConsortiumConfig) -> None:
        super().__init__(inner)
        self.config = config
        self.public = ledger_of_slots(config.public_ledger, inner.slot_s)
        self._anchors = Period(config.slots_per_anchor, self.slots_per_day)

    def reset(self, seed: Tensor) -> None:
        """Start a day on both; `seed` int64 [B]."""
        super().reset(seed)
        self.public.reset(randomness.fold(seed, OfDay.PUBLIC_CHAIN))
        self._anchors.reset()

    def _get_parts(self) -> Any:
        return super()._get_parts(), self.public.state, self._anchors.active

    def _set_parts(self, parts: Any) -> None:
        beneath, self.public.state, self._anchors.active = parts
        super()._set_parts(beneath)

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        got = self.inner.step(transactions, deadline_s)
        public = idle_step(self.public, transactions.tip, deadline_s)
        got = with_upkeep_of(got, public)
        if self.config.final == "private":
            return got
        wait_s = self._anchors.left(self.slot) * self.slot_s
        return replace(
            got,
            finality_s=got.finality_s + public.finality_s.to(got.finality_s) + wait_s,
            reverted=got.reverted | public.reverted,
        )

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write everything here, and an anchor there at its period's end."""
        written = self.inner.submit_market(market)
        due = self._anchors.due(self.slot, market.traders > 0).to(market.messages)
        nothing = torch.zeros_like(market.messages)
        root = due * (gas.root_gas() if is_evm(self.public) else 1.0)
        anchor = self.public.submit_market(
            replace(market, rounds=nothing, messages=nothing, gas=root, beside=None)
        )
        together = added(written, anchor)
        return (
            together
            if self.config.final == "public"
            else replace(together, delay_s=written.delay_s)
        )
