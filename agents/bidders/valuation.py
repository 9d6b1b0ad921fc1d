"""Valuation of what devices hold, by rule: what a kWh will be worth, or cost, later."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.envs.game import Game
from gridbazaar.envs.observation import OUTLOOK_HOURS


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


def valued_limits(seat: Seat, game: Game) -> Limits:
    """Return the limits of devices by the task's own rule of what a kWh in a battery is worth.

    That lies between what the grid pays and its lowest price until the day's end
    (`task.rules.stored_worth`). What a waiting car takes is worth likewise what lies between what
    the grid pays and its lowest price until departure; what it gives must be bought again: at the
    same price where the community had a surplus yesterday in those hours, else from the grid.
    """
    later, sunny = until_departure(seat, game)
    feed_in = seat.feed_in.unsqueeze(-1)
    patient = feed_in + game.rules.stored_worth * (later - feed_in)
    stored = stored_worth(seat, game).unsqueeze(-1)
    taken = torch.where(seat.leaves, patient / game.efficiency, stored)
    again = torch.where(sunny, patient, later) / game.efficiency
    given = torch.where(seat.leaves, again, stored)
    return Limits(limits_of(taken, game).bid, limits_of(given, game).ask)


def stored_worth(seat: Seat, game: Game) -> Tensor:
    """Return EUR/kWh [B, N] between what the grid pays now and its lowest price until day's end."""
    low = seat.read("retail_low")
    return seat.feed_in + game.rules.stored_worth * (low - seat.feed_in)


def until_departure(seat: Seat, game: Game) -> tuple[Tensor, Tensor]:
    """Return the grid's lowest price from an hour on until a car leaves, and if a surplus may come.

    The first is [B, N, K] EUR/kWh, today's where it leaves within the hour. The second is bool:
    whether the community had a surplus yesterday in these hours.
    """
    hours_left = (seat.read_each("slots_to_departure") * game.slot_h).unsqueeze(-1)
    stays = hours_left.new_tensor(OUTLOOK_HOURS) < hours_left
    prices = seat.read_ahead("retail_in_{}h").unsqueeze(-2)
    later = torch.where(stays, prices, torch.inf).amin(-1)
    surplus = seat.read_ahead("community_net_{}h").unsqueeze(-2) > 0
    sunny = (seat.read("community_net") > 0).unsqueeze(-1) | (stays & surplus).any(-1)
    return torch.where(later.isinf(), seat.retail.unsqueeze(-1), later), sunny
