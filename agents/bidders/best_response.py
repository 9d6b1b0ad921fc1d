"""Best response to the last price: the next one, a little better."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.auction_bidder import AuctionBidder, PricingConfig
from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.price_rule import News, Quotes, Traders
from gridbazaar.agents.bidders.protocol import BIDDERS
from gridbazaar.config import EnergyPrice


class BestResponseConfig(PricingConfig):
    """Parameters of the strategy."""

    undercut: EnergyPrice = Field(
        description="EUR/kWh by which an order betters the last price, to be filled before it"
    )


class BestResponseRule:
    """Just betters the last price where that pays, and names its valuation where it does not.

    The state is the last price [B, N], NaN before the first.
    """

    def __init__(self, config: BestResponseConfig):
        self._undercut = config.undercut

    def begin(self, traders: Traders, chance: Chance) -> Tensor:
        """Know no price; see PriceRule."""
        return torch.full_like(traders.low, torch.nan)

    def quote(
        self, traders: Traders, state: Tensor, quotes: Quotes | None
    ) -> tuple[Tensor, Tensor]:
        """Return the price; see PriceRule."""
        better = torch.where(traders.sells, state - self._undercut, state + self._undercut)
        price = torch.where(state.isnan(), traders.valuation, better)
        within = torch.minimum(torch.maximum(price, traders.low), traders.high)
        return traders.keep_valuation(within), state

    def learn(self, traders: Traders, state: Tensor, news: News) -> Tensor:
        """Keep the price of a trade; see PriceRule."""
        return torch.where(news.traded, news.price, state)


@BIDDERS.register("best_response")
class BestResponse(AuctionBidder):
    """Best response: betters the last price where that pays, and else names its valuation.

    Answering the last price is Cournot's process: where all do it, prices may swing.

    Source: Cournot (1838), "Recherches sur les principes mathématiques de la théorie des
    richesses", chapter VII, for the process; the price rule is that of a price taker.
    """

    Config = BestResponseConfig

    @staticmethod
    def rule(config: BestResponseConfig) -> BestResponseRule:
        """Return the rule; see AuctionBidder."""
        return BestResponseRule(config)
