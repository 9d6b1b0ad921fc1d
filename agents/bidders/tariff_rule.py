"""Tariff rule: battery and car used as the tariff suggests."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.own_use import balancing_power, own_use_power
from gridbazaar.agents.bidders.positions import Positions
from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.agents.bidders.valuation import content_value, limits_of
from gridbazaar.config import EnergyPrice, PositiveShare
from gridbazaar.envs.game import Game
from gridbazaar.envs.observation import OUTLOOK_HOURS

_TICK = 1e-4  # EUR/kWh beyond a price of the grid that is to be accepted


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
    """Truthful prices, but batteries shift from cheap to dear hours, and cars wait for cheap ones.

    Where the day's highest price pays for it, a battery's content is worth what filling it up at
    the lowest one costs: it buys at that price, and sells or serves its home beyond it. A car that
    need not wait for a cheaper hour pays what the grid charges now.
    """

    Config = TariffRuleConfig

    def __init__(self, config: TariffRuleConfig, game: Game):
        self._config, self._game = config, game

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        seat, game = Seat(observation, self._game.layout), self._game
        shifts, charges = self._shifts(seat), self._charges_now(seat)
        value = content_value(seat, game)
        value = torch.where(shifts, self._at(seat.read("retail_low")), value)
        value = torch.where(charges, self._at(seat.retail), value)
        runs_kw = self._power(seat, shifts, charges) if game.rules.dispatch == "own" else None
        positions = Positions(seat, limits_of(value, game), game, runs_kw)
        return positions.action(positions.valuation), None

    def _at(self, price: Tensor) -> Tensor:
        """Return what content is worth, [B, N, K], that is to be bought from the grid at a price."""
        return (price.unsqueeze(-1) + _TICK) / self._game.efficiency

    def _shifts(self, seat: Seat) -> Tensor:
        """Return whether a battery gains by shifting from the day's cheapest to its dearest hour."""
        gain = seat.read("retail_high") - seat.read("retail_low")
        return (gain > self._config.least_gain).unsqueeze(-1) & ~seat.leaves

    def _charges_now(self, seat: Seat) -> Tensor:
        """Return whether no cheaper hour comes before departure, or there is no time to wait."""
        hours_left = seat.read_each("slots_to_departure") * self._game.slot_h
        cheaper = torch.zeros_like(seat.leaves)
        for hours in OUTLOOK_HOURS:
            falls = seat.read(f"retail_in_{hours}h") < seat.retail - _TICK
            cheaper = cheaper | (falls.unsqueeze(-1) & (hours < hours_left))
        waits = cheaper & (seat.read_each("urgency") < self._config.latest_urgency)
        return seat.leaves & ~waits

    def _power(self, seat: Seat, shifts: Tensor, charges: Tensor) -> Tensor:
        """Return the powers [B, N, K] kW of devices that seats dispatch themselves."""
        cheap = (seat.retail <= seat.read("retail_low") + _TICK).unsqueeze(-1)
        serving_kw = own_use_power(seat) + balancing_power(seat)
        car_kw = torch.where(charges, -seat.take_kw, 0.0)
        battery_kw = torch.where(shifts & cheap, -seat.take_kw, serving_kw)
        return torch.where(seat.leaves, car_kw, battery_kw)
