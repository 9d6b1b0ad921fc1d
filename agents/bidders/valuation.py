"""Valuation of what devices hold, by rule: what a kWh will be worth, or cost, later."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.envs.game import Game
from gridbazaar.envs.observation import OUTLOOK_HOURS

_TICK = 1e-4  # EUR/kWh by which waiting is preferred among equal prices


class Limits(NamedTuple):
    """The most that each device gives for a kWh, and the least it takes for one, [B, N, K].

    Prices are EUR/kWh at the seat's own meter.
    """

    bid: Tensor
    ask: Tensor

    def value(self, game: Game) -> tuple[Tensor, Tensor]:
        """Return the value of the content and the margin that mean these limits, [B, N, K].

        Limits that would have a store trade with itself mean the same value without a margin.
        """
        efficiency = game.efficiency
        value = (self.bid + self.ask - game.wear_price) / (efficiency + 1 / efficiency)
        return value, (value * efficiency - self.bid).clamp(min=0)


def limits_of(value: Tensor, game: Game) -> Limits:
    """Return the limits of devices whose content has this value, [B, N, K] EUR/kWh."""
    return Limits(value * game.efficiency, value / game.efficiency + game.wear_price)


def content_value(seat: Seat, game: Game) -> Tensor:
    """Return what a kWh in a device is worth by the task's own rule, [B, N, K] EUR/kWh.

    It lies between what the grid pays and its lowest price until the day's end, as the task values
    what is left in a battery (`task.rules.stored_worth`). To a car it is what a kWh will cost until
    it leaves: likewise where the community had a surplus yesterday in those hours, else the grid's
    lowest price.
    """
    later, sunny = until_departure(seat, game)
    feed_in, share = seat.feed_in.unsqueeze(-1), game.rules.stored_worth
    price = torch.where(sunny, feed_in + share * (later - feed_in), later - _TICK)
    stored = stored_worth(seat, game).unsqueeze(-1)
    return torch.where(seat.leaves, price / game.efficiency, stored)


def stored_worth(seat: Seat, game: Game) -> Tensor:
    """Return EUR/kWh [B, N] between what the grid pays now and its lowest price until day's end."""
    low = seat.read("retail_low")
    return seat.feed_in + game.rules.stored_worth * (low - seat.feed_in)


def until_departure(seat: Seat, game: Game) -> tuple[Tensor, Tensor]:
    """Return the grid's lowest price from an hour on until a car leaves, and if a surplus may come.

    The first is [B, N, K] EUR/kWh, today's where it leaves within the hour. The second is bool:
    whether the community had a surplus yesterday in these hours.
    """
    hours_left = seat.read_each("slots_to_departure") * game.slot_h
    later = torch.full_like(hours_left, torch.inf)
    sunny = (seat.read("community_net") > 0).unsqueeze(-1).expand_as(later)
    for hours in OUTLOOK_HOURS:
        stays = hours < hours_left
        price = seat.read(f"retail_in_{hours}h").unsqueeze(-1)
        later = torch.minimum(later, torch.where(stays, price, torch.inf))
        sunny = sunny | (stays & (seat.read(f"community_net_{hours}h").unsqueeze(-1) > 0))
    return torch.where(later.isinf(), seat.retail.unsqueeze(-1), later), sunny
