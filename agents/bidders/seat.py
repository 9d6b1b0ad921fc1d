"""Seat as the classic bidders read it from an observation, in physical units."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.layout import Layout
from gridbazaar.envs.observation import OUTLOOK_HOURS


class Seat:
    """A view of one interval's observations [B, N, size].

    Attributes, [B, N] unless said otherwise:
        seats, devices: N, and K of a seat.
        net_kw: forecast of PV less load in the slot bid for.
        rated_kw: [B, N, K] of each device.
        must_kw: [B, N, K] that a device must take to keep its promise, 0 or less.
        take_kw, give_kw: [B, N, K] that it can take and give beside that, 0 or more.
        must_run_kw: net_kw with what devices must take.
        stored_kwh: [B, N, K] energy above the floor.
        room_kwh: [B, N, K] room for energy; what a plugged car still wants.
        leaves: [B, N, K] bool, the device's content leaves at a known time: a plugged car.
        lends: [B, N, K] bool, a plugged car that may feed back now.
        is_storage: bool, a battery that belongs to no home.
        retail, feed_in, local_charge: EUR/kWh now.
        floor, ceiling: EUR/kWh that selling to and buying from the grid is worth in the market.
    """

    def __init__(self, observation: Tensor, layout: Layout):
        self._layout, self._physical = layout, layout.physical(observation)
        self.seats, self.devices = observation.shape[-2], layout.slots
        self.net_kw = self.read("forecast_pv") - self.read("forecast_load")
        self.rated_kw = self.read_each("flexible_kw")
        self.must_kw = -self.read_each("must_take") * self.rated_kw
        self.take_kw = self.read_each("can_take") * self.rated_kw
        self.give_kw = self.read_each("can_give") * self.rated_kw
        self.must_run_kw = self.net_kw + self.must_kw.sum(-1)
        self.stored_kwh = self.read_each("energy_kwh")
        self.room_kwh = self.read_each("room_kwh")
        self.leaves = self.read_each("slots_to_departure") > 0
        self.lends = self.leaves & (self.give_kw > 0)
        self.is_storage = self.read("is_storage") > 0.5
        self.retail, self.feed_in = self.read("retail"), self.read("feed_in")
        self.local_charge = self.read("local_charge")
        self.floor, self.ceiling = self.feed_in, self.retail - self.local_charge

    def read(self, feature: str) -> Tensor:
        """Return a feature in its physical unit, [B, N]."""
        return self._physical[..., self._layout.index(feature)]

    def read_each(self, feature: str) -> Tensor:
        """Return a feature of every device in its physical unit, [B, N, K]."""
        found = [self._physical[..., self._layout.index(feature, k)] for k in range(self.devices)]
        return torch.stack(found, -1)

    def read_ahead(self, feature: str) -> Tensor:
        """Return an outlook's feature at each hour of OUTLOOK_HOURS, [B, N, hours]."""
        names = [feature.format(hours) for hours in OUTLOOK_HOURS]
        return torch.stack([self.read(name) for name in names], -1)

    def grid_price(self, must_run_kw: Tensor) -> Tensor:
        """Return what the grid pays for a surplus [B, N] or charges for a need, EUR/kWh."""
        return self.feed_in.where(must_run_kw > 0, self.retail)

    def shares(self, power_kw: Tensor) -> Tensor:
        """Return powers [B, N, K] as shares of what devices can take (negative) and give."""
        can_kw = self.give_kw.where(power_kw > 0, self.take_kw)
        return (power_kw / can_kw.where(can_kw > 0, 1.0)).clamp(-1, 1)
