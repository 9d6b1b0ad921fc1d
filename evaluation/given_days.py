"""Days as a linear program is given them: base loads, prices, and what devices can do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.devices import Profile
from gridbazaar.envs.devices.fleet import States
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import OptimumError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Day:
    """What is given for one day, float64.

    T slots, N seats, U units of all kinds, by seat.

    Attributes:
        base_kw: [T, N] PV less load.
        prices: [T] each.
        units: [U, T] or [U] each.
    """

    base_kw: Array
    prices: SlotPrices
    units: Profile


def days_of(simulation: Simulation) -> list[Day]:
    """Return the day of every market, as a simulation that was just reset has drawn it.

    Raises:
        OptimumError: a kind of devices gives no profile.
    """
    c = simulation.community.to("cpu", torch.float64)
    row = simulation.first_slot.cpu().unsqueeze(-1) + torch.arange(simulation.slots)
    return given(c, simulation.devices, row, (c.pv_kw - c.load_kw)[row])


def given(c: Community, states: States, row: Tensor, base_kw: Tensor) -> list[Day]:
    """Return what is given for some slots of every market.

    Args:
        c: seats and devices, on the CPU in float64.
        states: of the devices as the first slot begins.
        row: [B, T] numbers of the slots in the data; the last of each is its day's last.
        base_kw: [B, T, N] PV less load.

    Raises:
        OptimumError: a kind of devices gives no profile.
    """
    profiles = _profiles(c, states, row)
    return [
        Day(
            base_kw=base_kw[b].numpy(),
            prices=SlotPrices(*(price[row[b]].numpy() for price in c.prices)),
            units=Profile(*(part[b].numpy() for part in profiles)),
        )
        for b in range(len(row))
    ]


def _profiles(c: Community, states: States, row: Tensor) -> Profile:
    """Return the profiles of all kinds in the order of their seats, [B, U, T] or [B, U] each."""
    end = SlotPrices(*(price[row[:, -1:]] for price in c.prices))
    found = []
    for kind, device in c.fleet.kinds.items():
        state = type(states[kind])(*(part.to("cpu", torch.float64) for part in states[kind]))
        profile = device.profile(state, row, end)
        if profile is None:
            raise OptimumError(
                f"devices of kind {kind!r} give no profile, so that the optimum of a day with them "
                "is unknown; write `profile` for the kind"
            )
        found.append(profile)
    order = by_seat(c)
    return Profile(*(torch.cat(parts, 1)[:, order] for parts in zip(*found, strict=True)))


def by_seat(c: Community) -> Tensor:
    """Return the numbers of the units [U], kind after kind, in the order of their seats."""
    return c.fleet.place.argsort()


def unknown(days: list[Day], least_feed_in: float = 0.0, schemes: bool = False) -> str:
    """Return why the linear program is no bound of these days, empty where it is.

    Where retail is negative or below feed-in, it pays to draw and feed in at once; where feed-in is
    below `least_feed_in`, see Optimum, to charge and discharge. To forbid that takes a binary for
    each seat, unit and slot. Nor does it know what incentive `schemes` pay.
    """
    if schemes:
        return (
            "the optimum is missing: its linear program knows no incentive schemes, and their "
            "money may take the cost below it; evaluate with incentives=[] to have it"
        )
    crossed = [
        day
        for day in days
        if (day.prices.retail < day.prices.feed_in).any()
        or (day.prices.feed_in < least_feed_in).any()
        or (day.prices.retail < 0).any()
    ]
    if not crossed:
        return ""
    return (
        f"the optimum is missing: {len(crossed)} of {len(days)} days have negative prices, or "
        "retail below feed-in, which its linear program cannot hold; choose other days"
    )
