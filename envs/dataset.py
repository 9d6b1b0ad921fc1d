"""The community's data, laid out so that one slot of B markets is three reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.observation import OWN, scales
from gridbazaar.envs.settlement import Tariff

_TARIFF = 3  # columns of Community.prices before the worth of stored energy


@dataclass(frozen=True)
class Slot:
    """What the data say of one slot.

    Attributes:
        load_kw, pv_kw: [B, N] that will be metered.
        need_kwh: [B, N] of cars seen for the first time.
        departs: [B, N] 1 where a car leaves at the slot's end.
        slots_left: [B, N] of the plugged car.
        forecast_load_kw, forecast_pv_kw: [B, N] that bids are based on.
        own: [B, N, OWN] features, scaled.
        public: [B, PUBLIC] features, scaled.
        tariff: prices outside the market.
        background_kw, reactive_kvar: [B, M] injections that no seat decides.
    """

    load_kw: Tensor
    pv_kw: Tensor
    need_kwh: Tensor
    departs: Tensor
    slots_left: Tensor
    forecast_load_kw: Tensor
    forecast_pv_kw: Tensor
    own: Tensor
    public: Tensor
    tariff: Tariff
    background_kw: Tensor
    reactive_kvar: Tensor


class Records:
    """The tables of a community."""

    def __init__(self, community: Community):
        c = community
        metered = torch.stack([c.load_kw, c.pv_kw, c.need_kwh, c.departs, c.slots_left], -1)
        self._metered, self._prices = metered.shape[-1], c.prices.shape[-1]
        self._seats = torch.cat([metered, c.own], -1)
        self._public = torch.cat([c.prices, c.public], -1)
        self._buses = torch.cat([c.bus_p_kw, c.bus_q_kvar], -1)
        self._forecast_scale = scales(OWN[:2], c.seat)

    def background(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Return active and reactive injections that no seat decides in slots `row` [B]."""
        active, reactive = self._buses[row].chunk(2, -1)
        return active, reactive

    def worth(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a kWh is worth after slots `row` [B], [B, 1] EUR each: stored; to a car."""
        battery, car = self._public[row, _TARIFF : self._prices].split(1, -1)
        return battery, car

    def read(self, row: Tensor, forecast_error: Tensor | None) -> Slot:
        """Return slot `row` [B], forecasts of load and PV multiplied by the error [B, N, 2]."""
        seats, public = self._seats[row], self._public[row]
        load, pv, need, departs, left = seats[..., : self._metered].unbind(-1)
        own = seats[..., self._metered :]
        if forecast_error is not None:
            own = torch.cat([own[..., :2] * forecast_error, own[..., 2:]], -1)
        forecast_load, forecast_pv = (own[..., :2] / self._forecast_scale).unbind(-1)
        retail, feed_in, charge = public[:, :_TARIFF].split(1, -1)
        background_kw, reactive_kvar = self.background(row)
        return Slot(
            load_kw=load,
            pv_kw=pv,
            need_kwh=need,
            departs=departs,
            slots_left=left,
            forecast_load_kw=forecast_load,
            forecast_pv_kw=forecast_pv,
            own=own,
            public=public[:, self._prices :],
            tariff=Tariff(retail, feed_in, charge),
            background_kw=background_kw,
            reactive_kvar=reactive_kvar,
        )
