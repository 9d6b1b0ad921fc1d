"""A margin that never changes."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.auction_bidder import AuctionBidder, PricingConfig
from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.price_rule import News, Quotes, Traders
from gridbazaar.agents.bidders.protocol import BIDDERS
from gridbazaar.config import Share


class FixedMarginConfig(PricingConfig):
    """Parameters of the strategy."""

    margin: Share = Field(description="share of the limit price")


class FixedMarginRule:
    """The limit price and a fixed share of it, as far as the market allows."""

    def __init__(self, config: FixedMarginConfig):
        self._margin = config.margin

    def begin(self, traders: Traders, chance: Chance) -> None:
        """Keep nothing; see PriceRule."""

    def quote(self, traders: Traders, state: None, quotes: Quotes | None) -> tuple[Tensor, None]:
        """Return the price; see PriceRule."""
        valuation = traders.valuation
        ask = torch.minimum(valuation * (1 + self._margin), traders.high)
        bid = torch.maximum(valuation * (1 - self._margin), traders.low)
        return traders.keep_valuation(torch.where(traders.sells, ask, bid)), None

    def learn(self, traders: Traders, state: None, news: News) -> None:
        """Learn nothing."""


@BIDDERS.register("fixed_margin")
class FixedMargin(AuctionBidder):
    """Asks a fixed share above its valuation, bids as much below it; devices as the truthful."""

    Config = FixedMarginConfig

    @staticmethod
    def rule(config: FixedMarginConfig) -> FixedMarginRule:
        """Return the rule; see AuctionBidder."""
        return FixedMarginRule(config)
