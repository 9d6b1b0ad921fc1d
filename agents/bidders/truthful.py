"""Bids what its energy is worth to it, and sizes its storage by rule."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat, StorageCosts, balancing_power, own_use_power
from gridbazaar.envs.game import Game


class TruthfulConfig(BidderConfig):
    """Parameters of truthful bidding."""

    storage: StorageCosts


@BIDDERS.register("truthful")
class Truthful:
    """Bids what its energy is worth; own use first, cars charge at once, batteries balance."""

    Config = TruthfulConfig

    def __init__(self, config: TruthfulConfig, game: Game):
        self._storage, self._game = config.storage, game

    def act(self, observation: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Decide one interval; the state is the community batteries' last power. See Bidder."""
        seat = Seat(observation, self._game)
        balancing = balancing_power(seat, state, self._storage)
        power = own_use_power(seat) + balancing
        return seat.action(seat.limit(power, self._storage), power), balancing
