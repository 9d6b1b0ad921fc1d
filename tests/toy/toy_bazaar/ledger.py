"""A ledger and a layer that change nothing."""

from __future__ import annotations

from gridbazaar.ledger_sim.ideal import IdealConfig, IdealLedger
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import Ledger
from gridbazaar.ledger_sim.registry import LEDGERS


@LEDGERS.register("toy_ledger")
class ToyLedger(IdealLedger):
    """An ideal ledger by another name."""

    Config = IdealConfig


class ToyLayerConfig(LayerConfig):
    """The toy layer has no parameters."""


@LAYERS.register("toy_layer")
class ToyLayer(Layer):
    """Hands everything through"""

    Config = ToyLayerConfig

    def __init__(self, inner: Ledger, config: ToyLayerConfig) -> None:
        super().__init__(inner)
        self.config = config
