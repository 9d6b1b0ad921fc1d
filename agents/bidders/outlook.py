"""A seat's own forecast of the rest of its day, from what it has seen."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.agents.bidders.storage_plan import Outlook
from gridbazaar.envs.observation import OUTLOOK_HOURS

_DAY = 24.0
_NEAR = 4  # hours of which load and sun of yesterday are seen on their own


def expect(
    seat: Seat,
    device: int,
    slot_h: float,
    day_length_h: tuple[float, float],
    now_kw: Tensor | None = None,
) -> Outlook:
    """Return what each seat expects for a device until the day's end or its car's departure.

    The stages are the slot bid for and what lies between the hours of the outlook, each as it is at
    its beginning. Load and sun are yesterday's: the next hours as seen, the rest of the day spread
    evenly or over the daylight. Community batteries, and cars that may feed back, serve their share
    of what the homes left over yesterday, in the slot bid for of what meters showed in the last
    interval.

    Args:
        seat: the observation.
        device: number of the device slot.
        slot_h: hours of an interval.
        day_length_h: daylight at midwinter and midsummer.
        now_kw: [B, N] of the seat's other devices in the slot bid for, where they are planned.
    """
    stages = _stages(seat, device, slot_h)
    leaves = seat.leaves[..., device].unsqueeze(-1)
    sun = _sun(seat, stages.start, stages.open_hours, day_length_h)
    load = _load(seat, stages.start, stages.day_left)
    home = torch.where(leaves, 0.0, sun - load)
    if now_kw is not None:
        home = torch.cat([home[..., :1] + now_kw.unsqueeze(-1), home[..., 1:]], -1)
    serves = seat.is_storage.unsqueeze(-1) | seat.lends
    last_kw = seat.read_each("last_power")[..., device] * seat.rated_kw[..., device]
    left_over = _share(seat, device, seat.rated_kw * serves, "last_export")
    left_over = torch.cat([left_over[..., :1] - last_kw.unsqueeze(-1), left_over[..., 1:]], -1)
    shared = serves[..., device].unsqueeze(-1)
    return _outlook(seat, stages.hours, torch.where(shared, left_over, home), shared)


def expect_community(seat: Seat, device: int, slot_h: float) -> Outlook:
    """Return what a device expects that is to serve its share of the whole community.

    Batteries and plugged cars share what homes leave over, or lack, by rated power. In the slot bid
    for it is what meters showed in the last interval, later what they showed yesterday.

    Args:
        seat: the observation.
        device: number of the device slot.
        slot_h: hours of an interval.
    """
    serving_kw = seat.rated_kw * (seat.room_kwh + seat.stored_kwh > 0)
    net = _share(seat, device, serving_kw, "last_must_run")
    hours = _stages(seat, device, slot_h).hours
    return _outlook(seat, hours, net, torch.ones_like(seat.is_storage).unsqueeze(-1))


class _Stages(NamedTuple):
    """[stages] h from now at which each begins; [B, N, stages] h until the day's end, or less for a
    car that leaves; [B, N, 1] h until the day's end."""

    start: Tensor
    open_hours: Tensor
    hours: Tensor
    day_left: Tensor


def _stages(seat: Seat, device: int, slot_h: float) -> _Stages:
    start = seat.net_kw.new_tensor([0, slot_h, *OUTLOOK_HOURS])
    stop = seat.net_kw.new_tensor([slot_h, *OUTLOOK_HOURS, _DAY])
    day_left = (seat.read("day_left") * _DAY).unsqueeze(-1)
    stay_h = seat.read_each("slots_to_departure")[..., device] * slot_h
    parked = torch.where(seat.leaves[..., device], stay_h, _DAY).unsqueeze(-1)
    open_hours = (torch.minimum(stop, day_left) - start).clamp(min=0)
    hours = (torch.minimum(stop, torch.minimum(day_left, parked)) - start).clamp(min=0)
    return _Stages(start, open_hours, hours, day_left)


def _outlook(seat: Seat, hours: Tensor, net: Tensor, sells: Tensor) -> Outlook:
    """Return the outlook at the grid's prices; what others are sold saves them its network charge.

    `sells` is bool [B, N, 1], whether what the device covers is the need of others.
    """
    retail = _columns(seat, "retail", ["retail"] * 2)
    own = torch.where(sells, retail - seat.local_charge.unsqueeze(-1), retail)
    export = seat.feed_in.unsqueeze(-1).expand_as(retail)
    return Outlook(hours, net, own_price=own, export_price=export, grid_price=retail)


def _columns(seat: Seat, name: str, first: list[str]) -> Tensor:
    names = [*first, *(f"{name}_in_{h}h" for h in OUTLOOK_HOURS)]
    return torch.stack([seat.read(n) for n in names], -1)


def _load(seat: Seat, start: Tensor, day_left: Tensor) -> Tensor:
    near = seat.read("load_4h").unsqueeze(-1)
    rest = (seat.read("load_left").unsqueeze(-1) - _NEAR * near).clamp(min=0)
    later = rest / (day_left - _NEAR).clamp(min=1)
    load = torch.where(start < _NEAR, near, later)
    return torch.cat([seat.read("forecast_load").unsqueeze(-1), load[..., 1:]], -1)


def _sun(seat: Seat, start: Tensor, hours: Tensor, day_length_h: tuple[float, float]) -> Tensor:
    """Spread yesterday's sun over a half sine between sunrise and sunset."""
    clock = torch.atan2(seat.read("day_sin"), seat.read("day_cos")) % (2 * math.pi)
    middle = clock.unsqueeze(-1) * (_DAY / (2 * math.pi)) + start + hours / 2
    winter, summer = day_length_h
    length = (winter + summer + seat.read("year_cos") * (winter - summer)) / 2
    angle = (middle - _DAY / 2) / length.unsqueeze(-1).clamp(min=1) * math.pi
    light = torch.where(angle.abs() < math.pi / 2, angle.cos(), 0.0)

    is_near = start < _NEAR
    near = seat.read("pv_4h").unsqueeze(-1) * _NEAR
    far = (seat.read("pv_left").unsqueeze(-1) - near).clamp(min=0)
    near_sun, far_sun = (
        energy * light / (light * hours * part).sum(-1, keepdim=True).clamp(min=0.5)
        for energy, part in ((near, is_near), (far, ~is_near))
    )
    sun = torch.where(is_near, near_sun, far_sun)
    return torch.cat([seat.read("forecast_pv").unsqueeze(-1), sun[..., 1:]], -1)


def _share(seat: Seat, device: int, serving_kw: Tensor, last: str) -> Tensor:
    """Return the part [B, N, stages] kW of what homes leave over that a device is to serve.

    Args:
        seat: the observation.
        device: number of the device slot.
        serving_kw: [B, N, K] rated powers that share it.
        last: feature that says what it was in the last interval.
    """
    means = [seat.read(f"community_net_{h}h") for h in OUTLOOK_HOURS]
    net = [seat.read(last), means[0]]
    for i in range(1, len(OUTLOOK_HOURS)):
        a, b = OUTLOOK_HOURS[i - 1], OUTLOOK_HOURS[i]
        net.append((b * means[i] - a * means[i - 1]) / (b - a))
    net.append(torch.zeros_like(net[0]))
    all_kw = serving_kw.sum((1, 2)).unsqueeze(-1).clamp(min=1e-6)
    return torch.stack(net, -1) * (serving_kw[..., device] / all_kw * seat.seats).unsqueeze(-1)
