"""What the classic bidders read from an observation, in physical units."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Config, NonNegative, PositiveShare
from gridbazaar.envs.action import encode
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.markets import Context
from gridbazaar.envs.observation import read


class StorageCosts(Config):
    """What the owner of a battery knows of it."""

    efficiency: PositiveShare = Field(description="one way")
    wear_price: NonNegative = Field(description="EUR per kWh discharged")


class Seat:
    """A view of one interval's observations [B, N, SIZE]; every attribute is [B, N].

    Attributes:
        slot_h: hours of an interval.
        net_kw: forecast of PV less load in the slot bid for.
        rated_kw: of battery or charger.
        stored_kwh: energy above the floor.
        room_kwh: room for energy; what a plugged car still wants.
        is_ev, is_storage: bool.
        stored_worth: EUR/kWh, half-way between what the grid pays and its lowest price today.
        floor, ceiling: EUR/kWh that selling to and buying from the grid is worth in the market.
    """

    def __init__(self, observation: Tensor, rules: RulesConfig, slot_h: float = 0.25):
        self._observation, self._rules = observation, rules
        self.slot_h = slot_h
        self.net_kw = self.read("forecast_pv") - self.read("forecast_load")
        self.rated_kw = self.read("flexible_kw")
        self.stored_kwh = self.read("energy_kwh")
        self.room_kwh = self.read("room_kwh")
        self.is_ev = self.read("is_ev") > 0.5
        self.is_storage = self.read("is_storage") > 0.5
        self.retail, self.feed_in = self.read("retail"), self.read("feed_in")
        self.floor, self.ceiling = self.feed_in, self.retail - self.read("local_charge")
        self.stored_worth = (self.feed_in + self.read("retail_low")) / 2

    def read(self, feature: str) -> Tensor:
        """Return a feature in its physical unit, [B, N]."""
        return read(self._observation, feature)

    def action(self, limit_price: Tensor, power_kw: Tensor) -> Tensor:
        """Return the action [B, N, 3] for a limit price in EUR/kWh and a device power in kW."""
        context = Context(buyer_ceiling=self.ceiling, seller_floor=self.floor, slot_h=self.slot_h)
        no_tip = torch.zeros_like(limit_price)
        return encode(limit_price, power_kw, no_tip, context, self.rated_kw, self._rules)

    def limit(self, power_kw: Tensor, storage: StorageCosts) -> Tensor:
        """Return what the energy offered at this power of the device is worth to the seat.

        To a home or car that is the grid's price for the side it is on. A community battery asks
        for the worth of what it gives up, losses and wear, and bids what remains of it.
        """
        sells = self.net_kw + power_kw > 0
        home = torch.where(sells, self.floor, self.ceiling)
        ask, bid = self.stored_limits(storage)
        return torch.where(self.is_storage, torch.where(sells, ask, bid), home)

    def stored_limits(self, storage: StorageCosts) -> tuple[Tensor, Tensor]:
        """Return the least a community battery takes and the most it gives for a kWh, EUR."""
        ask = self.stored_worth / storage.efficiency + storage.wear_price
        return ask, self.stored_worth * storage.efficiency


def own_use_power(seat: Seat) -> Tensor:
    """Return the power [B, N] kW that serves own use first, the usual rule of home batteries.

    A home's battery takes its own surplus and covers its own need; a car charges at once; a
    community battery, which has no use of its own, rests. The device gives what it can of it.
    """
    power = torch.where(seat.is_ev, -seat.rated_kw, -seat.net_kw)
    return within_reach(seat, torch.where(seat.is_storage, 0.0, power))


def balancing_power(seat: Seat, last_power: Tensor | None, storage: StorageCosts) -> Tensor:
    """Return the power [B, N] kW of community batteries that would have balanced the last book.

    What all seats but the batteries offered on balance is shared by rated power; each battery takes
    the others to have done as it did itself. It rests where no price that the market allows is
    worth its while.

    Args:
        seat: the observation.
        last_power: [B, N] kW that this function returned an interval ago; None at the day's start.
        storage: what the batteries cost their owner.
    """
    if last_power is None:
        return torch.zeros_like(seat.net_kw)
    offered = (seat.read("last_supply") - seat.read("last_demand")) * seat.net_kw.shape[-1]
    share = seat.rated_kw / (seat.rated_kw * seat.is_storage).sum(-1, keepdim=True).clamp(min=1e-6)
    wanted = (last_power - offered * share) * seat.is_storage
    ask, bid = seat.stored_limits(storage)
    losing = torch.where(wanted > 0, ask > seat.ceiling, bid < seat.floor)
    return within_reach(seat, torch.where(losing, 0.0, wanted))


def within_reach(seat: Seat, power_kw: Tensor) -> Tensor:
    """Clip a power to what rating and stored energy allow, losses left aside."""
    discharge = torch.minimum(seat.rated_kw, seat.stored_kwh / seat.slot_h)
    charge = torch.minimum(seat.rated_kw, seat.room_kwh / seat.slot_h)
    return torch.minimum(torch.maximum(power_kw, -charge), discharge)
