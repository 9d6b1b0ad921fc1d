"""Truthful bidder: prices at its own valuations."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.agents.bidders.auction_bidder import truthful_positions
from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.envs.game import Game


@BIDDERS.register("truthful")
class Truthful:
    """Names what energy is worth to it: the grid's price, and the task's own rule for devices."""

    Config = BidderConfig

    def __init__(self, config: BidderConfig, game: Game):
        self._game = game

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        positions = truthful_positions(Seat(observation, self._game.layout), self._game)
        return positions.action(positions.valuation), None
