"""A market, bidder, ledger, layer and key figure of a package that is none of ours."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.config import Share
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.day_record import DayRecord
from gridbazaar.envs.kpis.registry import kpi
from gridbazaar.envs.markets.posted_price import accepting_kw, at_one_price, share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.ledger_sim.ideal import IdealConfig, IdealLedger
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import Ledger
from gridbazaar.ledger_sim.registry import LEDGERS

CONFIGS = Path(__file__).parent / "yaml"


class ToyMarketConfig(MarketConfig):
    """Parameters of the toy market."""

    position: Share


@MARKETS.register("toy_market")
class ToyMarket:
    """A fixed price between the grid's two; the longer side is rationed."""

    Config = ToyMarketConfig
    claims: ClassVar[frozenset[Claim]] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "one_price"}
    )
    time_priority = False

    def __init__(self, config: ToyMarketConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Clear at the price."""
        price = torch.lerp(context.seller_floor, context.buyer_ceiling, self.config.position)
        cleared_kw = share_pro_rata(accepting_kw(orders, price))
        return at_one_price(cleared_kw, price, context.slot_h)


@BIDDERS.register("toy_bidder")
class ToyBidder:
    """The middle of every range."""

    Config = BidderConfig

    def __init__(self, config: BidderConfig, rules: RulesConfig, slot_h: float):
        pass

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval."""
        return torch.zeros_like(observation[..., :3]), None


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


@kpi("EUR", "-")
def toy_figure(day: DayRecord) -> Tensor:
    """Cost of the dearest interval."""
    return day.cost.sum(-1).amax(0)
