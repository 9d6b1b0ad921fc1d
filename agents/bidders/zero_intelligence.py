"""Random prices that never lose money."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.agents.bidders.auction_bidder import AuctionBidder, PricingConfig
from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.price_rule import News, Quotes, Traders
from gridbazaar.agents.bidders.protocol import BIDDERS


class ZeroIntelligenceRule:
    """A price drawn uniformly between the trader's valuation and the market's end beyond it."""

    def begin(self, traders: Traders, chance: Chance) -> Chance:
        """Keep the stream alone; see PriceRule."""
        return chance

    def quote(
        self, traders: Traders, state: Chance, quotes: Quotes | None
    ) -> tuple[Tensor, Chance]:
        """Draw a price; see PriceRule."""
        valuation = traders.valuation
        draw, state = state.uniform(valuation)
        return valuation + draw * (traders.best - valuation), state

    def learn(self, traders: Traders, state: Chance, news: News) -> Chance:
        """Learn nothing."""
        return state


@BIDDERS.register("zero_intelligence")
class ZeroIntelligence(AuctionBidder):
    """Zero intelligence, constrained (ZI-C): any price at which the trade does not lose money.

    A buyer bids uniformly between the grid's feed-in price and its own valuation, a seller asks
    uniformly between its own valuation and what the grid would charge. Energy is worth what
    it is to the truthful bidder.

    Source: Gode and Sunder (1993), "Allocative efficiency of markets with zero-intelligence
    traders", Journal of Political Economy 101(1).
    """

    @staticmethod
    def rule(config: PricingConfig) -> ZeroIntelligenceRule:
        """Return the rule; see AuctionBidder."""
        return ZeroIntelligenceRule()
