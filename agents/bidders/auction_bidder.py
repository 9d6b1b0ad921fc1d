"""A pricing strategy as a bidder of the environment: each of a seat's positions is a trader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.own_use import balancing_power, own_use_power
from gridbazaar.agents.bidders.positions import Positions, laid
from gridbazaar.agents.bidders.price_rule import News, PriceRule, Traders
from gridbazaar.agents.bidders.protocol import BidderConfig
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.agents.bidders.valuation import valued_limits
from gridbazaar.envs.game import Game


class PricingConfig(BidderConfig):
    """What every pricing strategy is told."""

    seed: int = Field(description="of the draws; nothing is drawn by some")


class _State(NamedTuple):
    rule: Any
    traders: Traders
    price: Tensor
    ordered: Tensor


class AuctionBidder(ABC):
    """Prices each position by a rule, from valuations as the truthful bidder has them.

    All that devices can take and give is offered. Where seats dispatch their devices themselves
    they serve own use, and community batteries follow the community's meter.
    """

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
        seat = Seat(observation, self._game.layout)
        positions = truthful_positions(seat, self._game)
        traders = positions.traders()
        if state is None:
            memory = self._rule.begin(traders, Chance.of(observation, self._config.seed))
        else:
            memory = self._rule.learn(state.traders, state.rule, _news(seat, state))
        price, memory = self._rule.quote(traders, memory, None)
        prices = positions.prices(price)
        return positions.action(prices), _State(memory, traders, price, positions.ordered(prices))


def truthful_positions(seat: Seat, game: Game) -> Positions:
    """Return the positions at the valuations of the task's own rule."""
    limits, runs_kw = valued_limits(seat, game), None
    if game.rules.dispatch == "own":
        runs_kw = own_use_power(seat) + balancing_power(seat)
    return Positions(seat, limits, game, runs_kw)


def _news(seat: Seat, state: _State) -> News:
    """Read a round's outcome: an order late for its block says nothing of its price.

    What all hear is the published price; of its own positions a seat hears how far they were
    filled. One that sent no order, or whose energy was its own use, hears nothing of itself.
    """
    included = seat.read("included") > 0.5
    each = included.unsqueeze(-1).expand_as(seat.rated_kw)
    in_time = laid(included, each, each)
    filled = laid(seat.read("filled"), seat.read_each("take_filled"), seat.read_each("give_filled"))
    traded = (seat.read("last_volume")[:, :1] > 0).expand_as(filled)
    unfilled = (filled <= 0.5) & in_time & state.ordered
    everyone = torch.ones_like(traded)
    return News(
        price=torch.where(traded, seat.read("last_price")[:, :1], state.price),
        traded=traded,
        active=unfilled,
        ask_pressed=everyone,
        bid_pressed=everyone,
        rejected=unfilled,
        rejected_price=state.price,
        rejected_ask=state.traders.sells,
    )
