"""Beliefs of Gjerstad and Dickhaut: which price would be taken, from those that were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.auction_bidder import AuctionBidder, PricingConfig
from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.price_rule import News, Quotes, Traders
from gridbazaar.agents.bidders.protocol import BIDDERS
from gridbazaar.config import Count

_NONE, _TRADE, _ASK, _BID = range(4)


class GjerstadDickhautConfig(PricingConfig):
    """Parameters of GD, with the paper's letters."""

    memory_trades: Count = Field(description="L, trades remembered")
    memory_events: Annotated[int, Field(ge=2)] = Field(
        description="most trades and rejected orders kept; older ones are forgotten before L trades"
    )
    prices: Annotated[int, Field(ge=3)] = Field(description="prices tried, evenly over the market")


@dataclass(frozen=True)
class Events:
    """What was heard, newest first; [B, n, H] each, n traders with memories of their own.

    Attributes:
        price: of a trade or rejected order.
        kind: 0 none, 1 trade, 2 rejected ask, 3 rejected bid.
    """

    price: Tensor
    kind: Tensor

    def push(self, happened: Tensor, price: Tensor, kind: Tensor) -> Events:
        """Return the events after one more where it happened; arguments are [B, n]."""
        happened = happened.unsqueeze(-1)
        prices = torch.cat([price.unsqueeze(-1), self.price[..., :-1]], -1)
        kinds = torch.cat([kind.unsqueeze(-1), self.kind[..., :-1]], -1)
        return Events(
            torch.where(happened, prices, self.price), torch.where(happened, kinds, self.kind)
        )


def beliefs(
    events: Events, low: Tensor, high: Tensor, prices: int, memory_trades: int
) -> tuple[Tensor, Tensor]:
    """Return how likely an ask, and a bid, at each of the prices is taken: [B, n, prices] twice.

    An ask is believed in by the trades and bids at or above it against the rejected asks at or
    below it; a bid the other way round. Between prices that were heard, a cubic with level ends
    joins the beliefs; at the market's ends they are 1 and 0.

    Args:
        events: what was heard.
        low: [B, n] price of the first grid point.
        high: [B, n] price of the last.
        prices: G, grid points.
        memory_trades: L; what came before the last L trades is forgotten.
    """
    trades = events.kind == _TRADE
    recent = trades.cumsum(-1) - trades.long() < memory_trades
    kind = torch.where(recent, events.kind, _NONE)
    width = (high - low).clamp(min=torch.finfo(low.dtype).tiny).unsqueeze(-1)
    at = (events.price - low.unsqueeze(-1)) / width * (prices - 1)
    at = at.round().clamp(0, prices - 1).long()
    count = low.new_zeros(*kind.shape[:-1], 4 * prices)
    count = count.scatter_add(-1, kind * prices + at, torch.ones_like(events.price))
    _, trade, ask, bid = count.unflatten(-1, (4, prices)).unbind(-2)
    below_ask, below_trade = (trade + ask).cumsum(-1), ask.cumsum(-1)
    taken_above = _from_above(trade + bid)
    heard = (trade + ask + bid) > 0
    ends = torch.zeros_like(heard)
    ends[..., 0] = ends[..., -1] = True
    asked = taken_above / (taken_above + below_trade).clamp(min=1)
    offered = below_ask / (below_ask + _from_above(bid)).clamp(min=1)
    asked[..., 0], asked[..., -1] = 1, 0
    offered[..., 0], offered[..., -1] = 0, 1
    return _joined(asked, heard | ends), _joined(offered, heard | ends)


def _from_above(count: Tensor) -> Tensor:
    return count.flip(-1).cumsum(-1).flip(-1)


def _joined(belief: Tensor, knot: Tensor) -> Tensor:
    """Join the beliefs at the knots by cubics whose slope is zero at both ends."""
    G = belief.shape[-1]
    place = torch.arange(G, device=belief.device).expand_as(belief)
    before = torch.where(knot, place, 0).cummax(-1).values
    after = torch.where(knot, place, G - 1).flip(-1).cummin(-1).values.flip(-1)
    way = (place - before) / (after - before).clamp(min=1)
    first, last = belief.gather(-1, before), belief.gather(-1, after)
    return first + (last - first) * way.square() * (3 - 2 * way)


class GjerstadDickhautRule:
    """The price with the largest expected gain under the trader's belief."""

    def __init__(self, config: GjerstadDickhautConfig):
        self._config = config

    def begin(self, traders: Traders, chance: Chance) -> Events | None:
        """Have heard nothing; see PriceRule."""
        return None

    def quote(
        self, traders: Traders, state: Events | None, quotes: Quotes | None
    ) -> tuple[Tensor, Events | None]:
        """Return the price; see PriceRule."""
        G, sells = self._config.prices, traders.sells.unsqueeze(-1)
        events = self._nothing(traders.low[:, :1]) if state is None else state
        n = events.price.shape[1]
        low, high = traders.low[:, :n], traders.high[:, :n]
        asked, offered = beliefs(events, low, high, G, self._config.memory_trades)
        step = torch.linspace(0, 1, G, dtype=low.dtype, device=low.device)
        price = low.unsqueeze(-1) + (high - low).unsqueeze(-1) * step
        if quotes is not None:
            # An order that meets the best standing one is taken; one that does not better its own
            # side's is refused.
            best_bid, best_ask = quotes.bid.unsqueeze(-1), quotes.ask.unsqueeze(-1)
            rounding = (high - low).unsqueeze(-1) * (0.01 / G)
            asked = torch.where(price <= best_bid + rounding, 1.0, asked)
            asked = asked * (price < best_ask - rounding)
            offered = torch.where(price >= best_ask - rounding, 1.0, offered)
            offered = offered * (price > best_bid + rounding)
        gain = torch.where(sells, asked, offered) * torch.where(
            sells, price - traders.valuation.unsqueeze(-1), traders.valuation.unsqueeze(-1) - price
        )
        most, best = gain.max(-1)
        chosen = price.expand_as(gain).gather(-1, best.unsqueeze(-1)).squeeze(-1)
        return traders.keep_valuation(torch.where(most > 0, chosen, traders.valuation)), state

    def learn(self, traders: Traders, state: Events | None, news: News) -> Events:
        """Remember trade and rejected order; see PriceRule."""
        price = news.rejected_price
        events = self._nothing(price) if state is None else state
        kind = torch.where(news.rejected_ask, _ASK, _BID).expand_as(price)
        events = events.push(news.rejected.expand_as(price), price, kind)
        n = price.shape[1]
        traded = news.traded.expand(-1, n) if news.traded.shape[1] == 1 else news.traded[:, :n]
        trade_price = news.price.expand(-1, n) if news.price.shape[1] == 1 else news.price[:, :n]
        return events.push(traded, trade_price, torch.full_like(kind, _TRADE))

    def _nothing(self, like: Tensor) -> Events:
        price = like.new_zeros(*like.shape, self._config.memory_events)
        return Events(price, torch.full_like(price, _NONE, dtype=torch.long))


@BIDDERS.register("gjerstad_dickhaut")
class GjerstadDickhaut(AuctionBidder):
    """Gjerstad-Dickhaut (GD): the price with the largest expected gain, by beliefs from history.

    A seat hears the price of each round's trades and the fate of its own order; others' rejected
    orders, which traders see in an open book, are hidden here. Energy is worth to it what it is
    to the truthful bidder.

    Source: Gjerstad and Dickhaut (1998), "Price formation in double auctions", Games and Economic
    Behavior 22(1), with one event per auction round instead of per shout.
    """

    Config = GjerstadDickhautConfig

    @staticmethod
    def rule(config: GjerstadDickhautConfig) -> GjerstadDickhautRule:
        """Return the rule; see AuctionBidder."""
        return GjerstadDickhautRule(config)
