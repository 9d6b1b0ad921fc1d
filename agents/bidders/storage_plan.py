"""The best use of a store over an outlook: a linear programme per seat, solved exactly in batch.

The value of stored energy is concave and piecewise linear, so it is known once, for every price
among the outlook's own, it is known how much energy is worth at least that price. That amount
follows backwards through the stages by one addition and one clamp, without a grid of energies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Outlook:
    """What is expected of K stages, [B, N, K] each; the first is the slot bid for.

    Attributes:
        hours: length; zero beyond the day's end or a car's departure.
        net_kw: of what the store serves; positive is surplus.
        own_price: EUR/kWh that covering its shortage is worth.
        export_price: EUR/kWh for what it does not need itself.
        grid_price: EUR/kWh for what it does not have itself.
    """

    hours: Tensor
    net_kw: Tensor
    own_price: Tensor
    export_price: Tensor
    grid_price: Tensor


@dataclass(frozen=True)
class Store:
    """[B, N] each: energy and room in kWh, ratings in kW, EUR per kWh left at the end.

    `efficiency` is one way, in (0, 1]; `wear_price` in EUR per kWh discharged.
    """

    stored_kwh: Tensor
    room_kwh: Tensor
    charge_kw: Tensor
    discharge_kw: Tensor
    end_worth: Tensor
    efficiency: Tensor
    wear_price: Tensor


def plan(store: Store, outlook: Outlook, impatience: float) -> tuple[Tensor, Tensor]:
    """Return the first stage's power and the worth of stored energy after it, [B, N] each.

    Prices are put in order where a tariff has them the other way round: what is exported earns at
    most what own use is worth, and that costs at most what the grid asks.

    Args:
        store: as it stands.
        outlook: what is expected.
        impatience: EUR/kWh that waiting an hour costs; it decides between equal prices.

    Returns:
        power in kW, positive discharges, and EUR per stored kWh.
    """
    length, slope, charge = _segments(store, outlook, impatience)
    capacity = (store.stored_kwh + store.room_kwh).unsqueeze(-1)
    end = store.end_worth.unsqueeze(-1)
    level = torch.cat([slope.flatten(-2), end], -1).sort(-1, descending=True).values

    def worth_it(k: int) -> Tensor:
        enough = slope[..., k, :, None] >= level.unsqueeze(-2)
        return (length[..., k, :, None] * enough).sum(-2)

    held = torch.where(level <= end, capacity, 0.0)
    for k in range(slope.shape[-2] - 1, 0, -1):
        held = (held + worth_it(k) - charge[..., k, None]).clamp(min=0)
        held = torch.minimum(held, capacity)

    used = worth_it(0)
    to_share = store.stored_kwh.unsqueeze(-1) + charge[..., :1]
    more_used, more_held = _steps(used), _steps(held)
    before = held + used - more_held - more_used
    filled = torch.minimum((to_share - before).clamp(min=0), more_held + more_used)
    kept = (filled - more_used).clamp(min=0).sum(-1)
    short = (held + used < to_share * (1 - 1e-5)).sum(-1, keepdim=True)
    worth = level.gather(-1, short.clamp(max=level.shape[-1] - 1)).squeeze(-1)

    gain, efficiency = kept - store.stored_kwh, store.efficiency
    hours = outlook.hours[..., 0].clamp(min=1e-6)
    return torch.where(gain > 0, -gain / efficiency, -gain * efficiency) / hours, worth


def _steps(amount: Tensor) -> Tensor:
    return torch.diff(amount, dim=-1, prepend=torch.zeros_like(amount[..., :1]))


def _segments(store: Store, outlook: Outlook, impatience: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return what a stage can do with stored energy, and what it is worth.

    Returns:
        lengths [B, N, K, 4] in stored kWh: left uncharged from grid and from surplus, discharged
        into own shortage and for export; their worth [B, N, K, 4] in EUR per stored kWh; and the
        most that can be charged [B, N, K] in stored kWh.
    """
    hours, net = outlook.hours, outlook.net_kw
    efficiency, wear_price = store.efficiency.unsqueeze(-1), store.wear_price.unsqueeze(-1)
    own = torch.minimum(outlook.own_price, outlook.grid_price)
    export = torch.minimum(outlook.export_price, own)
    charge = store.charge_kw.unsqueeze(-1) * hours * efficiency
    discharge = store.discharge_kw.unsqueeze(-1) * hours / efficiency
    sunny = torch.minimum(charge, net.clamp(min=0) * hours * efficiency)
    needed = torch.minimum(discharge, (-net).clamp(min=0) * hours / efficiency)
    length = torch.stack([charge - sunny, sunny, needed, discharge - needed], -1)
    waiting = impatience * (hours.cumsum(-1) - hours)
    slope = torch.stack(
        [
            outlook.grid_price / efficiency + waiting,
            export / efficiency + waiting,
            (own - wear_price) * efficiency - waiting,
            (export - wear_price) * efficiency - waiting,
        ],
        -1,
    )
    return length, slope, charge
