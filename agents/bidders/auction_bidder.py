"""A pricing strategy as a bidder of the environment: one order per seat and auction round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.price_rule import News, PriceRule, Traders
from gridbazaar.agents.bidders.protocol import BidderConfig
from gridbazaar.agents.bidders.seat import Seat, balancing_power, own_use_power
from gridbazaar.envs.game import Game


class PricingConfig(BidderConfig):
    """What every pricing strategy is told."""

    seed: int


class _State(NamedTuple):
    rule: Any
    traders: Traders
    price: Tensor
    balancing: Tensor


class AuctionBidder(ABC):
    """Prices by a rule; own use first, cars charge at once, community batteries balance."""

    Config: ClassVar[type[PricingConfig]] = PricingConfig

    def __init__(self, config: PricingConfig, game: Game):
        self._config, self._game = config, game
        self._rule = self.rule(config)

    @staticmethod
    @abstractmethod
    def rule(config: Any) -> PriceRule:
        """Return the strategy's prices under these parameters."""

    def act(self, observation: Tensor, state: _State | None) -> tuple[Tensor, _State]:
        """Decide one interval; see Bidder."""
        seat = Seat(observation, self._game)
        balancing = self._balancing(seat, None if state is None else state.balancing)
        power = own_use_power(seat) + balancing
        traders = self._traders(seat, seat.sells(power))
        if state is None:
            memory = self._rule.begin(traders, Chance.of(observation, self._config.seed))
        else:
            memory = self._rule.learn(state.traders, state.rule, _news(seat, state))
        price, memory = self._rule.quote(traders, memory, None)
        return seat.action(price, power), _State(memory, traders, price, balancing)

    def _balancing(self, seat: Seat, last: Tensor | None) -> Tensor:
        """Return the powers [B, N, K] kW of community batteries."""
        return balancing_power(seat, last)

    def _traders(self, seat: Seat, sells: Tensor) -> Traders:
        ask, bid = seat.stored_limits()
        return Traders(
            sells=sells,
            ask_limit=torch.where(seat.is_storage, ask, seat.floor),
            bid_limit=torch.where(seat.is_storage, bid, seat.ceiling),
            low=seat.floor,
            high=seat.ceiling,
        )


def _news(seat: Seat, state: _State) -> News:
    """Read a round's outcome: an order late for its block says nothing of its price."""
    traded = seat.read("last_volume") > 0
    unfilled = (seat.read("filled") <= 0.5) & (seat.read("included") > 0.5)
    everyone = torch.ones_like(traded)
    return News(
        price=torch.where(traded, seat.read("last_price"), state.price),
        traded=traded,
        active=unfilled,
        ask_pressed=everyone,
        bid_pressed=everyone,
        rejected=unfilled,
        rejected_price=state.price,
        rejected_ask=state.traders.sells,
    )
