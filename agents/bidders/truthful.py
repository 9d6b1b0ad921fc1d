"""Truthful bidder: prices at its own valuation, storage sized by rule."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat, balancing_power, own_use_power
from gridbazaar.envs.game import Game


@BIDDERS.register("truthful")
class Truthful:
    """Bids what its energy is worth; own use first, cars charge at once, batteries balance."""

    Config = BidderConfig

    def __init__(self, config: BidderConfig, game: Game):
        self._game = game

    def act(self, observation: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Decide one interval; the state is the community batteries' last power. See Bidder."""
        seat = Seat(observation, self._game)
        balancing = balancing_power(seat, state)
        power = own_use_power(seat) + balancing
        return seat.action(seat.limit(power), power), balancing
