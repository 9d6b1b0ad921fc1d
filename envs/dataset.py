"""Data of a community, laid out so that one slot of B markets is three reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.observation import OWN, scales
from gridbazaar.envs.prices import SlotPrices, Tariff

_PRICES = len(SlotPrices._fields)


@dataclass(frozen=True)
class Slot:
    """What the data say of one slot.

    Attributes:
        load_kw, pv_kw: [B, N] that will be metered.
        forecast_load_kw, forecast_pv_kw: [B, N] that bids are based on.
        own: [B, N, OWN] features, scaled.
        public: [B, PUBLIC] features, scaled.
        tariff: prices outside the market.
        background_kw, reactive_kvar: [B, M] injections that no seat decides.
    """

    load_kw: Tensor
    pv_kw: Tensor
    forecast_load_kw: Tensor
    forecast_pv_kw: Tensor
    own: Tensor
    public: Tensor
    tariff: Tariff
    background_kw: Tensor
    reactive_kvar: Tensor


class Dataset:
    """The tables of a community."""

    def __init__(self, community: Community):
        c = community
        self._day = c.slots_per_day
        self._seats = torch.cat([torch.stack([c.load_kw, c.pv_kw], -1), c.own], -1)
        self._public = torch.cat([torch.stack(c.prices, -1), c.public], -1)
        self._buses = torch.cat([c.bus_p_kw, c.bus_q_kvar], -1)
        self._forecast_scale = scales(OWN[:2], c.load_kw)

    def price_range(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """Return lowest feed-in and highest retail price of the days from slots `first` [B]."""
        day = torch.arange(self._day, device=first.device)
        prices = SlotPrices(*self._public[first.unsqueeze(-1) + day, :_PRICES].unbind(-1))
        return prices.feed_in.amin(-1, keepdim=True), prices.retail.amax(-1, keepdim=True)

    def background(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Return active and reactive injections that no seat decides in slots `row` [B]."""
        active, reactive = self._buses[row].chunk(2, -1)
        return active, reactive

    def prices(self, row: Tensor) -> SlotPrices:
        """Return the prices of slots `row` [B], [B, 1] EUR/kWh each."""
        return SlotPrices(*self._public[row, :_PRICES].split(1, -1))

    def read(self, row: Tensor, forecast_error: Tensor | None) -> Slot:
        """Return slot `row` [B], forecasts of load and PV multiplied by the error [B, N, 2]."""
        seats, public = self._seats.index_select(0, row), self._public.index_select(0, row)
        metered, own = seats.split_with_sizes([2, seats.shape[-1] - 2], -1)
        load, pv = metered.unbind(-1)
        if forecast_error is not None:
            own = torch.cat([own[..., :2] * forecast_error, own[..., 2:]], -1)
        forecast_load, forecast_pv = (own[..., :2] / self._forecast_scale).unbind(-1)
        prices, public = public.split_with_sizes([_PRICES, public.shape[-1] - _PRICES], -1)
        now = SlotPrices(*prices.split_with_sizes([1] * _PRICES, -1))
        background_kw, reactive_kvar = self.background(row)
        return Slot(
            load_kw=load,
            pv_kw=pv,
            forecast_load_kw=forecast_load,
            forecast_pv_kw=forecast_pv,
            own=own,
            public=public,
            tariff=Tariff(now.retail, now.feed_in, now.local_charge),
            background_kw=background_kw,
            reactive_kvar=reactive_kvar,
        )
