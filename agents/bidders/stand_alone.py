"""Stand-alone bidder: lives as if there were no neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.agents.bidders.own_use import grid_priced, own_use_power
from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.envs.game import Game


@BIDDERS.register("stand_alone")
class StandAlone:
    """Own use first, cars charge at once, community batteries rest; the grid alone's reference.

    A device offers what own use asks of it, at the end of the prices at which it is not for sale.
    """

    Config = BidderConfig

    def __init__(self, config: BidderConfig, game: Game):
        self._layout, self._own = game.layout, game.rules.dispatch == "own"

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        seat = Seat(observation, self._layout)
        power_kw = own_use_power(seat)
        share, value = seat.shares(power_kw), -power_kw.sign()
        if self._own:
            return grid_priced(seat, power_kw, value, share), None
        return grid_priced(seat, torch.zeros_like(power_kw), value, share.abs() * 2 - 1), None
