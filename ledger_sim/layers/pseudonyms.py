"""Pseudonyms: a new account for every order."""

from __future__ import annotations

from dataclasses import replace

from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import Ledger, Receipts, Transactions


class PseudonymsConfig(LayerConfig):
    """Pseudonyms have no parameters of their own."""


@LAYERS.register("pseudonyms")
class Pseudonyms(Layer):
    """A new key for every order, registered together with it

    Hides which orders are of one seat. An order takes the gas of a registration on top, or the room
    of two transactions where gas is not measured. Price, quantity and time stay in the open.
    """

    Config = PseudonymsConfig

    changes = "privacy"

    def __init__(self, inner: Ledger, config: PseudonymsConfig) -> None:
        super().__init__(inner)
        self.config = config

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        takes = self.order_gas(transactions) + self.gas(gas.register_gas())
        return self.inner.step(replace(transactions, gas=takes), deadline_s)
