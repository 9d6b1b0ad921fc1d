"""Pricing strategy: one rule for rounds of an auction and shouts in an open book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from gridbazaar.agents.bidders.chance import Chance


@dataclass(frozen=True)
class Traders:
    """Who trades, [B, N] each; prices in any one unit, EUR/kWh in the environment.

    Attributes:
        sells: bool, the side that each is on.
        ask_limit: the least that each would take.
        bid_limit: the most that each would give.
        low: the lowest price that the market allows.
        high: the highest.
    """

    sells: Tensor
    ask_limit: Tensor
    bid_limit: Tensor
    low: Tensor
    high: Tensor

    @property
    def valuation(self) -> Tensor:
        """Return the limit of the side that each is on."""
        return torch.where(self.sells, self.ask_limit, self.bid_limit)

    @property
    def best(self) -> Tensor:
        """Return the best price that the market could give each, or a limit that lies beyond."""
        most = torch.maximum(self.high, self.ask_limit)
        return torch.where(self.sells, most, torch.minimum(self.low, self.bid_limit))

    def keep_valuation(self, price: Tensor) -> Tensor:
        """Return the price, or the valuation where the price would lose money."""
        valuation = self.valuation
        return torch.where(
            self.sells, torch.maximum(price, valuation), torch.minimum(price, valuation)
        )


@dataclass(frozen=True)
class Quotes:
    """The best standing prices of an open book, [B, 1]; the market's ends where none stands."""

    bid: Tensor
    ask: Tensor


@dataclass(frozen=True)
class News:
    """What traders hear of a round or a shout; tensors are [B, N] or broadcast to it.

    Attributes:
        price: of the trade, else of the shout or order that found no partner.
        traded: bool.
        active: bool, could have traded and did not.
        ask_pressed: bool, sellers compete: one was passed over, or a buyer's shout was taken.
        bid_pressed: bool, likewise for buyers.
        rejected: bool [B, n], an order is known to have found no partner; n is N where each trader
            knows its own alone, and 1 where all hear it.
        rejected_price: [B, n] of that order.
        rejected_ask: bool [B, n], that order was an ask.
    """

    price: Tensor
    traded: Tensor
    active: Tensor
    ask_pressed: Tensor
    bid_pressed: Tensor
    rejected: Tensor
    rejected_price: Tensor
    rejected_ask: Tensor


class PriceRule(Protocol):
    """A strategy's prices; it keeps nothing but the state it returns."""

    def begin(self, traders: Traders, chance: Chance) -> Any:
        """Return the state before anything was heard."""
        ...

    def quote(self, traders: Traders, state: Any, quotes: Quotes | None) -> tuple[Tensor, Any]:
        """Return each trader's price [B, N], and the state.

        Args:
            traders: on the sides that they are on now.
            state: as `begin` or `learn` returned it.
            quotes: of an open book; None in a sealed auction.
        """
        ...

    def learn(self, traders: Traders, state: Any, news: News) -> Any:
        """Return the state after the news; `traders` as they were when they quoted."""
        ...
