"""Random prices that never lose money."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.bidders.base import BIDDERS, BidderConfig
from agents.bidders.chance import Chance
from agents.bidders.seat import Seat, StorageCosts, balancing_power, own_use_power
from envs.config import RulesConfig


class ZeroIntelligenceConfig(BidderConfig):
    """Parameters of zero intelligence."""

    seed: int
    storage: StorageCosts


class _State(NamedTuple):
    chance: Chance
    balancing: Tensor


@BIDDERS.register("zero_intelligence")
class ZeroIntelligence:
    """Zero intelligence, constrained (ZI-C): any price at which the trade does not lose money.

    A buyer bids uniformly between the grid's feed-in price and its own worth, a seller asks
    uniformly between its own worth and what the grid would charge. Devices are used as the
    truthful bidder uses them.

    Source: Gode and Sunder (1993), "Allocative efficiency of markets with zero-intelligence
    traders", Journal of Political Economy 101(1).
    """

    Config = ZeroIntelligenceConfig

    def __init__(self, config: ZeroIntelligenceConfig, rules: RulesConfig):
        self._config, self._rules = config, rules

    def act(self, observation: Tensor, state: _State | None) -> tuple[Tensor, _State]:
        """Decide one interval; see Bidder."""
        chance = Chance.of(observation, self._config.seed) if state is None else state.chance
        seat = Seat(observation, self._rules)
        balancing = balancing_power(
            seat, None if state is None else state.balancing, self._config.storage
        )
        power = own_use_power(seat) + balancing
        worth = seat.limit(power, self._config.storage)
        other_end = torch.where(seat.net_kw + power > 0, seat.ceiling, seat.floor)
        draw, chance = chance.uniform(worth)
        price = worth + draw * (other_end - worth)
        return seat.action(price, power), _State(chance, balancing)
