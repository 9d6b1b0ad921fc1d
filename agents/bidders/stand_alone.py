"""Lives as if there were no neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat, own_use_power
from gridbazaar.envs.config import RulesConfig


@BIDDERS.register("stand_alone")
class StandAlone:
    """Own use first, cars charge at once, community batteries rest; the grid alone's reference."""

    Config = BidderConfig

    def __init__(self, config: BidderConfig, rules: RulesConfig, slot_h: float):
        self._rules, self._slot_h = rules, slot_h

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        seat = Seat(observation, self._rules, self._slot_h)
        power = own_use_power(seat)
        return seat.action(
            torch.where(power + seat.net_kw > 0, seat.floor, seat.ceiling), power
        ), None
