"""Own use first: the simplest controller, by the meter of the last interval."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.envs.game import Game
from gridbazaar.envs.layout import STANDARD, Layout


@BIDDERS.register("own_use")
class OwnUse:
    """Own use first at the grid's prices; community batteries follow the community's meter."""

    Config = BidderConfig

    def __init__(self, config: BidderConfig, game: Game):
        self._layout = game.layout

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        return own_use_action(observation, self._layout), None


def own_use_action(observation: Tensor, layout: Layout = STANDARD) -> Tensor:
    """Own use first at the grid's prices: home batteries balance their home, cars charge at once.

    Community batteries balance the community. Bids the highest price, asks the lowest, no tip.

    Args:
        observation: [..., size].
        layout: of the community.

    Returns:
        action [..., 2 + K].
    """

    def each(name: str) -> Tensor:
        return layout.read_each(observation, name)

    rated, is_car = each("flexible_kw").clamp(min=1e-6), each("slots_to_departure") > 0
    is_storage = (layout.read(observation, "is_storage") > 0).unsqueeze(-1)
    shared = torch.where(is_storage, each("balancing"), each("balance"))
    # A full battery cannot charge and an empty one cannot discharge: the price follows the power.
    full, empty = each("room_kwh") < 1e-3, each("energy_kwh") < 1e-3
    cars = torch.where(is_car & ~full, -1.0, 0.0)
    served_kw, powers = (cars * rated).sum(-1), []
    for k in range(layout.slots):
        # What cars and earlier batteries of the home take or give, this one need not balance.
        served = torch.where(is_storage[..., 0], 0.0, served_kw / rated[..., k])
        power = (shared[..., k] - served).clamp(-1, 1)
        idle = (full[..., k] & (power < 0)) | (empty[..., k] & (power > 0))
        power = torch.where(is_car[..., k], cars[..., k], torch.where(idle, 0.0, power))
        served_kw = torch.where(is_car[..., k], served_kw, served_kw + power * rated[..., k])
        powers.append(power)
    power = torch.stack(powers, -1)
    home = layout.read(observation, "forecast_pv") - layout.read(observation, "forecast_load")
    price = -(home + (power * rated).sum(-1)).sign().unsqueeze(-1)
    return torch.cat([price, power, -torch.ones_like(price)], -1)
