"""Random prices, whatever they cost."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.agents.bidders.auction_bidder import AuctionBidder, PricingConfig
from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.price_rule import Quotes, Traders
from gridbazaar.agents.bidders.protocol import BIDDERS
from gridbazaar.agents.bidders.zero_intelligence import ZeroIntelligenceRule


class UnconstrainedRule(ZeroIntelligenceRule):
    """A price drawn uniformly from all that the market allows."""

    def quote(
        self, traders: Traders, state: Chance, quotes: Quotes | None
    ) -> tuple[Tensor, Chance]:
        """Draw a price; see PriceRule."""
        draw, state = state.uniform(traders.low)
        return traders.low + draw * (traders.high - traders.low), state


@BIDDERS.register("zero_intelligence_unconstrained")
class ZeroIntelligenceUnconstrained(AuctionBidder):
    """Zero intelligence, unconstrained (ZI-U): any price that the market allows, even at a loss.

    Between the grid's prices a home's must-run net cannot lose against the grid, so that here the
    loss is that of devices and of the better partner who was passed over.

    Source: Gode and Sunder (1993), "Allocative efficiency of markets with zero-intelligence
    traders", Journal of Political Economy 101(1).
    """

    @staticmethod
    def rule(config: PricingConfig) -> UnconstrainedRule:
        """Return the rule; see AuctionBidder."""
        return UnconstrainedRule()
