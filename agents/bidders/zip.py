"""Zero intelligence plus: a margin that follows the market."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.auction_bidder import AuctionBidder, PricingConfig
from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.price_rule import News, Quotes, Traders
from gridbazaar.agents.bidders.protocol import BIDDERS
from gridbazaar.config import Share


class ZipConfig(PricingConfig):
    """Parameters of ZIP, with Cliff's letters."""

    learning_rate: tuple[Share, Share] = Field(description="beta is drawn from this range per seat")
    momentum: tuple[Share, Share] = Field(description="gamma, likewise")
    margin: tuple[Share, Share] = Field(
        description="first margin as a share of the limit, likewise"
    )
    relative_step: Share = Field(description="targets lie up to this share beyond the last price")
    absolute_step: Share = Field(description="and up to this many EUR/kWh")


@dataclass(frozen=True)
class _State:
    """[B, N] each: `ask` and `bid` are the prices on either side, the pushes their momentum."""

    chance: Chance
    learning_rate: Tensor
    momentum: Tensor
    ask: Tensor
    bid: Tensor
    ask_push: Tensor
    bid_push: Tensor


class ZipRule:
    """Cliff's margins: raised where the market beat the price, lowered where it passed it over."""

    def __init__(self, config: ZipConfig):
        self._config = config

    def begin(self, traders: Traders, chance: Chance) -> _State:
        """Draw rates and first margins; see PriceRule."""

        def draw(low_high: tuple[float, float]) -> Tensor:
            nonlocal chance
            share, chance = chance.uniform(traders.low)
            return low_high[0] + share * (low_high[1] - low_high[0])

        config = self._config
        rate, momentum, margin = map(draw, (config.learning_rate, config.momentum, config.margin))
        still = torch.zeros_like(rate)
        return _State(
            chance,
            rate,
            momentum,
            ask=torch.minimum(traders.ask_limit * (1 + margin), traders.high),
            bid=torch.maximum(traders.bid_limit * (1 - margin), traders.low),
            ask_push=still,
            bid_push=still,
        )

    def quote(
        self, traders: Traders, state: _State, quotes: Quotes | None
    ) -> tuple[Tensor, _State]:
        """Return the price of the side in use, its valuation at least; see PriceRule."""
        sells = traders.sells
        price = traders.keep_valuation(torch.where(sells, state.ask, state.bid))
        ask, bid = torch.where(sells, price, state.ask), torch.where(sells, state.bid, price)
        return price, replace(state, ask=ask, bid=bid)

    def learn(self, traders: Traders, state: _State, news: News) -> _State:
        """Move the price of the side the trader was on; the other side's waits."""
        config, sells, price = self._config, traders.sells, news.price
        relative, chance = state.chance.uniform(traders.low)
        absolute, chance = chance.uniform(traders.low)
        up = price * (1 + config.relative_step * relative) + config.absolute_step * absolute
        down = price * (1 - config.relative_step * relative) - config.absolute_step * absolute

        keener_ask = news.active & news.ask_pressed & (state.ask >= price) & sells
        dearer_ask = news.traded & (state.ask <= price) & sells
        keener_bid = news.active & news.bid_pressed & (state.bid <= price) & ~sells
        dearer_bid = news.traded & (state.bid >= price) & ~sells
        ask_target = torch.where(dearer_ask, up, down)
        bid_target = torch.where(dearer_bid, down, up)
        ask, ask_push = _move(state, state.ask, state.ask_push, keener_ask | dearer_ask, ask_target)
        bid, bid_push = _move(state, state.bid, state.bid_push, keener_bid | dearer_bid, bid_target)
        return replace(state, chance=chance, ask=ask, bid=bid, ask_push=ask_push, bid_push=bid_push)


@BIDDERS.register("zip")
class Zip(AuctionBidder):
    """Zero intelligence plus (ZIP): margins follow the published price by Widrow-Hoff.

    A seller whose price the market beat raises it; one whose order was not filled lowers it below
    the last price; a buyer does the opposite. Prices never pass the seat's valuation. Energy is
    worth to it what it is to the truthful bidder.

    Source: Cliff (1997), "Minimal-intelligence agents for bargaining behaviors in market-based
    environments", HP Laboratories HPL-97-91, with one update per auction instead of per shout.
    """

    Config = ZipConfig

    @staticmethod
    def rule(config: ZipConfig) -> ZipRule:
        """Return the rule; see AuctionBidder."""
        return ZipRule(config)


def _move(
    state: _State, price: Tensor, push: Tensor, moved: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the price after Cliff's momentum update where it moved, and the momentum."""
    pull = state.learning_rate * (target - price)
    pushed = state.momentum * push + (1 - state.momentum) * pull
    return torch.where(moved, price + pushed, price), torch.where(moved, pushed, push)
