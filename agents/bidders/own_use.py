"""The simplest controller: own use first, by the meter of the last interval."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.observation import read


@BIDDERS.register("own_use")
class OwnUse:
    """Own use first at the grid's prices; community batteries follow the community's meter."""

    Config = BidderConfig

    def __init__(self, config: BidderConfig, rules: RulesConfig, slot_h: float):
        pass

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        return own_use_action(observation), None


def own_use_action(observation: Tensor) -> Tensor:
    """Own use first at the grid's prices: home batteries balance their home, cars charge at once.

    Community batteries balance the community. Bids the highest price, asks the lowest, no tip.

    Args:
        observation: [..., SIZE].

    Returns:
        action [..., 3].
    """
    rated = read(observation, "flexible_kw").clamp(min=1e-6)
    is_ev, is_storage = read(observation, "is_ev") > 0, read(observation, "is_storage") > 0
    shared = torch.where(is_storage, read(observation, "balancing"), read(observation, "balance"))
    power = torch.where(is_ev, -1.0, shared.clamp(-1, 1))
    # A full battery cannot charge and an empty one cannot discharge: the price follows the power.
    full, empty = read(observation, "room_kwh") < 1e-3, read(observation, "energy_kwh") < 1e-3
    power = torch.where((full & (power < 0)) | (empty & (power > 0)), 0.0, power)
    net = read(observation, "forecast_pv") - read(observation, "forecast_load") + power * rated
    return torch.stack([-net.sign(), power, -torch.ones_like(power)], -1)
