"""Off-chain clearing: net payments on the chain, and the contract's check of the price."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field

from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import Ledger, MarketReceipts, MarketTransactions


class OffChainClearingConfig(LayerConfig):
    """Parameters of clearing off the chain."""

    checked: bool = Field(
        description="the contract reads the book in the order given and checks the price; else it "
        "takes the operator's word"
    )
    solve_s: NonNegative = Field(
        description="to clear a book, once", json_schema_extra={"unit": "s"}
    )
    round_trip_s: NonNegative = Field(
        description="of a round of messages off the chain",
        json_schema_extra={"unit": "s"},
    )


@LAYERS.register("off_chain_clearing")
class OffChainClearing(Layer):
    """The market clears off the chain; net payments, and the gas of a check, are written

    Orders stay on the chain, where the contract finds them for its check: it reads them in the
    sorted order that it is given, at the gas of a hinted clearing in which nothing is stored. The
    check is that gas alone: there is one solution, and it is right.
    Messages of iterative mechanisms stay off the chain.
    """

    Config = OffChainClearingConfig

    def __init__(self, inner: Ledger, config: OffChainClearingConfig) -> None:
        super().__init__(inner)
        self.config = config

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write net payments and, if checked, have them checked."""
        settled = market.traders > 0
        takes = self.settlement_gas(market)
        if self.evm and market.gas is None:
            takes = gas.batch_gas(market.traders) * settled
        if self.evm and self.config.checked:
            nobody = torch.zeros_like(market.orders)
            takes = takes + gas.clear_gas(market.orders, nobody, hinted=True) * settled
        nothing = torch.zeros_like(market.messages)
        written = self.inner.submit_market(
            replace(market, rounds=nothing, messages=nothing, gas=takes)
        )
        off_chain_s = market.rounds * self.config.round_trip_s + self.config.solve_s * settled
        return replace(written, delay_s=written.delay_s + off_chain_s)
