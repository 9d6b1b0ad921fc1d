"""Seat as the classic bidders read it from an observation, in physical units."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.action import encode
from gridbazaar.envs.game import Game
from gridbazaar.envs.markets import Context


class Seat:
    """A view of one interval's observations [B, N, size].

    Attributes, [B, N] unless said otherwise:
        slot_h: hours of an interval.
        net_kw: forecast of PV less load in the slot bid for.
        rated_kw: [B, N, K] of each device.
        stored_kwh: [B, N, K] energy above the floor.
        room_kwh: [B, N, K] room for energy; what a plugged car still wants.
        leaves: [B, N, K] bool, the device's content leaves at a known time: a plugged car.
        is_storage: bool, a battery that belongs to no home.
        stored_worth: EUR/kWh of what a battery holds, by the rules between what the grid pays and
            its lowest price today.
        efficiency, wear_price: [N, K] of each device, one way, and EUR per kWh given.
        floor, ceiling: EUR/kWh that selling to and buying from the grid is worth in the market.
    """

    def __init__(self, observation: Tensor, game: Game):
        self._observation, self._game = observation, game
        self.slot_h, self.devices = game.slot_h, game.layout.slots
        self.net_kw = self.read("forecast_pv") - self.read("forecast_load")
        self.rated_kw = self.read_each("flexible_kw")
        self.stored_kwh = self.read_each("energy_kwh")
        self.room_kwh = self.read_each("room_kwh")
        self.leaves = self.read_each("slots_to_departure") > 0
        self.is_storage = self.read("is_storage") > 0.5
        self.retail, self.feed_in = self.read("retail"), self.read("feed_in")
        self.floor, self.ceiling = self.feed_in, self.retail - self.read("local_charge")
        low, share = self.read("retail_low"), game.rules.stored_worth
        self.stored_worth = self.feed_in + share * (low - self.feed_in)
        self.efficiency, self.wear_price = game.efficiency, game.wear_price

    def read(self, feature: str) -> Tensor:
        """Return a feature in its physical unit, [B, N]."""
        return self._game.layout.read(self._observation, feature)

    def read_each(self, feature: str) -> Tensor:
        """Return a feature of every device in its physical unit, [B, N, K]."""
        return self._game.layout.read_each(self._observation, feature)

    def action(self, limit_price: Tensor, power_kw: Tensor) -> Tensor:
        """Return the action for a limit price [B, N] in EUR/kWh and powers [B, N, K] in kW."""
        context = Context(buyer_ceiling=self.ceiling, seller_floor=self.floor, slot_h=self.slot_h)
        no_tip = torch.zeros_like(limit_price)
        return encode(limit_price, power_kw, no_tip, context, self.rated_kw, self._game.rules)

    def sells(self, power_kw: Tensor) -> Tensor:
        """Return whether the seat offers energy at these powers [B, N, K] of its devices."""
        return self.net_kw + power_kw.sum(-1) > 0

    def limit(self, power_kw: Tensor) -> Tensor:
        """Return what the energy offered at these powers is worth to the seat, [B, N] EUR/kWh.

        To a home or car that is the grid's price for the side it is on. A community battery asks
        for the worth of what it gives up, losses and wear, and bids what remains of it.
        """
        sells = self.sells(power_kw)
        home = torch.where(sells, self.floor, self.ceiling)
        ask, bid = self.stored_limits()
        return torch.where(self.is_storage, torch.where(sells, ask, bid), home)

    def device_limits(self) -> tuple[Tensor, Tensor]:
        """Return the least each battery takes and the most it gives for a kWh, [B, N, K] EUR."""
        worth = self.stored_worth.unsqueeze(-1)
        return worth / self.efficiency + self.wear_price, worth * self.efficiency

    def stored_limits(self) -> tuple[Tensor, Tensor]:
        """Return the least a community battery takes and the most it gives for a kWh, EUR."""
        ask, bid = self.device_limits()
        return ask.amax(-1), bid.amin(-1)


def own_use_power(seat: Seat) -> Tensor:
    """Return the powers [B, N, K] kW that serve own use first, the usual rule of home batteries.

    Cars charge at once; then a home's batteries, one after the other, take its own surplus and
    cover its own need. A community battery, which has no use of its own, rests. A device gives what
    it can of it.
    """
    cars = within_reach(seat, torch.where(seat.leaves, -seat.rated_kw, 0.0))
    powers, net_kw = [], seat.net_kw + cars.sum(-1)
    for k in range(seat.devices):
        serving = torch.where(seat.is_storage, 0.0, -net_kw)
        power = torch.where(seat.leaves[..., k], cars[..., k], within_reach(seat, serving, k))
        net_kw = torch.where(seat.leaves[..., k], net_kw, net_kw + power)
        powers.append(power)
    return torch.stack(powers, -1)


def balancing_power(seat: Seat, last_power: Tensor | None) -> Tensor:
    """Return the powers [B, N, K] kW of community batteries that had balanced the last book.

    What all seats but the batteries offered on balance is shared by rated power; each battery takes
    the others to have done as it did itself. It rests where no price that the market allows is
    worth its while.

    Args:
        seat: the observation.
        last_power: [B, N, K] kW that this function returned an interval ago; None at the day's
            start.
    """
    if last_power is None:
        return torch.zeros_like(seat.rated_kw)
    offered = (seat.read("last_supply") - seat.read("last_demand")) * seat.net_kw.shape[-1]
    shared = seat.is_storage.unsqueeze(-1)
    share = seat.rated_kw / (seat.rated_kw * shared).sum((1, 2), keepdim=True).clamp(min=1e-6)
    wanted = (last_power - offered.unsqueeze(-1) * share) * shared
    ask, bid = seat.device_limits()
    ceiling, floor = seat.ceiling.unsqueeze(-1), seat.floor.unsqueeze(-1)
    losing = torch.where(wanted > 0, ask > ceiling, bid < floor)
    return within_reach(seat, torch.where(losing, 0.0, wanted))


def within_reach(seat: Seat, power_kw: Tensor, device: int | None = None) -> Tensor:
    """Clip powers to what rating and stored energy allow, losses left aside.

    `power_kw` is [B, N, K] of all devices, or [B, N] of one.
    """
    of = (...,) if device is None else (..., device)
    rated_kw = seat.rated_kw[of]
    discharge = torch.minimum(rated_kw, seat.stored_kwh[of] / seat.slot_h)
    charge = torch.minimum(rated_kw, seat.room_kwh[of] / seat.slot_h)
    return torch.minimum(torch.maximum(power_kw, -charge), discharge)
