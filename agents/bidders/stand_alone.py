"""Stand-alone bidder: lives as if there were no neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat, own_use_power
from gridbazaar.envs.game import Game


@BIDDERS.register("stand_alone")
class StandAlone:
    """Own use first, cars charge at once, community batteries rest; the grid alone's reference."""

    Config = BidderConfig

    def __init__(self, config: BidderConfig, game: Game):
        self._game = game

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        seat = Seat(observation, self._game)
        power = own_use_power(seat)
        price = torch.where(seat.sells(power), seat.floor, seat.ceiling)
        return seat.action(price, power), None
