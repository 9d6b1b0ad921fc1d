"""A market, a bidder in it, and a figure of what came out."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.config import Share
from gridbazaar.envs.day_record import DayRecord
from gridbazaar.envs.game import Game
from gridbazaar.envs.kpis.registry import kpi
from gridbazaar.envs.markets.posted_price import accepting_kw, at_one_price, share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS


class ToyMarketConfig(MarketConfig):
    """Parameters of the toy market."""

    position: Share


@MARKETS.register("toy_market")
class ToyMarket(Market):
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

    def __init__(self, config: BidderConfig, game: Game):
        self._entries = len(game.layout.actions)

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval."""
        return observation.new_zeros(*observation.shape[:-1], self._entries), None


@kpi("EUR", "-")
def toy_figure(day: DayRecord) -> Tensor:
    """Cost of the dearest interval."""
    return day.cost.sum(-1).amax(0)
