"""Side chain: data are stored on a ledger beside this one, which controls and pays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.gas_schedule import schedule_of
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


class SideChainConfig(LayerConfig):
    """Parameters of the side chain."""

    side_ledger: dict[str, Any] = Field(
        description="parameters of another ledger; a configuration file may give its name alone"
    )
    slots_per_anchor: int = Field(
        ge=1, description="slots that an anchor vouches for", json_schema_extra={"unit": "slots"}
    )


@LAYERS.register("side_chain")
class SideChain(Layer):
    """Orders, messages and clearing are stored on a side chain; this ledger holds roots and money

    The main chain is a layer of control and no longer one of storage (Cantillo-Luna et al. 2022,
    V-D): every slot's net payments are written on it once the side chain's word is final, and a
    root of what the side chain stores every `slots_per_anchor`, so that a later change of it is
    evident. Orders wait and pay as the side chain says. A slot is lost when either loses it.

    Attributes:
        side: the ledger that stores.
    """

    Config = SideChainConfig

    def __init__(self, inner: Ledger, config: SideChainConfig) -> None:
        super().__init__(inner)
        self.config = config
        self.side = ledger_of_slots(config.side_ledger, inner.slot_s)
        self._main_evm = is_evm(inner)
        # What lies on top sends its orders to the side chain, and counts gas as that does.
        self.chain = self.side.chain if isinstance(self.side, Layer) else self.side
        self.evm = is_evm(self.side)
        self.schedule = schedule_of("evm" if self.evm else "unit")
        self._anchors = Period(config.slots_per_anchor, self.slots_per_day)

    def lead_s(self, deadline_s: float) -> float:
        """Return how long before a deadline to send to the side chain."""
        return self.side.lead_s(deadline_s)

    def reset(self, seed: Tensor) -> None:
        """Start a day on both; `seed` int64 [B]."""
        super().reset(seed)
        self.side.reset(randomness.fold(seed, OfDay.SIDE_CHAIN))
        self._anchors.reset()

    def _get_parts(self) -> Any:
        return super()._get_parts(), self.side.state, self._anchors.active

    def _set_parts(self, parts: Any) -> None:
        beneath, self.side.state, self._anchors.active = parts
        super()._set_parts(beneath)

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        got = self.side.step(transactions, deadline_s)
        main = idle_step(self.inner, transactions.tip, deadline_s)
        return replace(
            with_upkeep_of(got, main),
            finality_s=got.finality_s + main.finality_s.to(got.finality_s),
            reverted=got.reverted | main.reverted,
            messages=got.messages + main.messages.to(got.messages),
        )

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Store messages and clearing beside, then write payments here, and a root when due."""
        settled = (market.traders > 0).to(market.messages)
        due = self._anchors.due(self.slot, market.traders > 0).to(market.messages)
        paid = settled * (gas.batch_gas(market.traders) if self._main_evm else 1.0)
        root = due * (gas.root_gas() if self._main_evm else 1.0)
        nothing = torch.zeros_like(market.messages)
        pays = replace(
            market, rounds=nothing, messages=nothing, beside=None, refused=None, metered_kwh=None
        )
        stored = self.side.submit_market(
            replace(market, refused=None, gas=self.clearing_gas(market))
        )
        # Whose solvers propose the clearing, they check it too; once.
        here = self.inner.submit_market(replace(pays, refused=market.refused, gas=paid))
        anchor = self.inner.submit_market(replace(pays, gas=root))
        main = added(here, anchor)
        if here.incomes is not None and anchor.incomes is not None:
            main = replace(main, incomes=here.incomes + anchor.incomes)  # of the same validators
        # Nobody waits for the root.
        return replace(added(stored, main), delay_s=stored.delay_s + here.delay_s)
