"""Tariff rule: battery and car used as the tariff suggests."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import (
    Seat,
    balancing_power,
    own_use_power,
    within_reach,
)
from gridbazaar.config import EnergyPrice, PositiveShare
from gridbazaar.envs.game import Game
from gridbazaar.envs.observation import OUTLOOK_HOURS


class TariffRuleConfig(BidderConfig):
    """Parameters of the rule."""

    least_gain: EnergyPrice = Field(
        description="EUR/kWh that a battery must gain over a round trip, wear and losses included"
    )
    latest_urgency: PositiveShare = Field(
        description="a car waits until it needs this share of the charger's power until departure"
    )


@BIDDERS.register("tariff_rule")
class TariffRule:
    """Truthful prices; batteries also shift from cheap to dear hours, cars wait for cheap ones."""

    Config = TariffRuleConfig

    def __init__(self, config: TariffRuleConfig, game: Game):
        self._config, self._game = config, game

    def act(self, observation: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Decide one interval; the state is the community batteries' last power. See Bidder."""
        seat = Seat(observation, self._game)
        balancing = balancing_power(seat, state)
        power = own_use_power(seat) + balancing
        power = torch.where(seat.leaves, self._car_power(seat), self._battery_power(seat, power))
        power = within_reach(seat, power)
        return seat.action(seat.limit(power), power), balancing

    def _battery_power(self, seat: Seat, own_use: Tensor) -> Tensor:
        """Fill up at the day's lowest price where its highest pays for it, and hold until then."""
        gain = seat.read("retail_high") - seat.read("retail_low")
        shifting = gain > self._config.least_gain
        cheap = seat.retail <= seat.read("retail_low") + 1e-6
        return torch.where((shifting & cheap).unsqueeze(-1), -seat.rated_kw, own_use)

    def _car_power(self, seat: Seat) -> Tensor:
        """Charge now unless a cheaper hour comes before departure and there is time to wait."""
        hours_left = seat.read_each("slots_to_departure") * seat.slot_h
        cheaper = torch.zeros_like(seat.leaves)
        for hours in OUTLOOK_HOURS:
            falls = seat.read(f"retail_in_{hours}h") < seat.retail - 1e-6
            cheaper = cheaper | (falls.unsqueeze(-1) & (hours < hours_left))
        wait = cheaper & (seat.read_each("urgency") < self._config.latest_urgency)
        return torch.where(wait, 0.0, -seat.rated_kw)
