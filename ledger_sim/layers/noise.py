"""Differentially private volumes: published with Laplace noise."""

from __future__ import annotations

from pydantic import Field

from gridbazaar.config import Positive
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import Ledger, MarketReceipts, MarketTransactions


class NoiseConfig(LayerConfig):
    """Parameters of the noise."""

    epsilon: Positive = Field(
        description="privacy loss of a published volume", json_schema_extra={"unit": "1"}
    )
    sensitivity: Positive = Field(
        description="most by which one seat changes a slot's volume",
        json_schema_extra={"unit": "volume"},
    )


@LAYERS.register("noise")
class Noise(Layer):
    """The published volume of a slot is noisy enough to be differentially private

    Orders stand on the chain as hashes; the market publishes the slot's volume plus Laplace noise
    in a transaction of its own. See `gridbazaar.ledger_sim.record.privacy.noisy`.
    """

    Config = NoiseConfig

    changes = "privacy"

    def __init__(self, inner: Ledger, config: NoiseConfig) -> None:
        super().__init__(inner)
        self.config = config

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write what is written, and the noisy volume."""
        takes = self.settlement_gas(market)
        published = (takes > 0).to(takes)
        takes = takes + published * self.gas(gas.root_gas())
        return self.inner.submit_market(market.and_beside(takes, published))
