"""What chance decides before a day begins, drawn whole from each market's own seed."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.observation import ROLES
from gridbazaar.randomness import normal, uniform

_DAY, _ENERGY, _FORECAST = 101, 102, 103


def check_days(days: Tensor, markets: int, slots_per_day: int, end: int) -> None:
    """Raise ValueError unless `days` holds, for each market, a day's first slot before `end`."""
    if days.shape != (markets,):
        raise ValueError(f"days has shape {tuple(days.shape)}, expected ({markets},)")
    wrong = (days < 0) | (days >= end) | (days % slots_per_day != 0)
    if wrong.any():
        raise ValueError(
            f"day {days[wrong][0].item()} is not the first slot of a day; expected a multiple "
            f"of {slots_per_day} from 0 to {end - slots_per_day}"
        )


def draw_days(seed: Tensor, days: Tensor) -> Tensor:
    """Return the first slot [B] of a day from `days` [D] for each seed [B]."""
    share = uniform(seed, _DAY, (), torch.float64)
    return days[(share * len(days)).long()]


def draw_storage(seed: Tensor, community: Community, first_slot: Tensor) -> tuple[Tensor, Tensor]:
    """Carry stored energy in from the day before at a random level.

    A battery starts anywhere between its floor and ceiling. A car that plugged in yesterday has
    some of its energy already; it lacks no more than its charger can still give.

    Returns:
        energy and capacity, [B, N] kWh each.
    """
    c = community
    share = uniform(seed, _ENERGY, c.role.shape, c.seat.dtype)
    wanted = c.session_kwh[first_slot]
    stored_kw = c.storage.charge_kw * c.storage.efficiency
    reachable = c.slots_left[first_slot] * stored_kw * c.slot_h
    missing = torch.minimum(share * wanted, reachable)
    plugged = wanted > 0
    is_ev = c.role == ROLES.index("ev")
    capacity = torch.where(is_ev, (wanted + c.lent_kwh) * plugged, c.battery_kwh)
    band = c.storage.floor + share * (c.storage.ceiling - c.storage.floor)
    return torch.where(is_ev, capacity - missing, band * capacity), capacity


def draw_forecast_error(
    seed: Tensor, slots: int, seats: int, spread: float, dtype: torch.dtype
) -> Tensor | None:
    """Return factors [B, slots, seats, 2] on the forecasts of load and PV, of mean 1.

    Log-normal with standard deviation `spread` of the logarithm; None where that is zero.
    """
    if spread == 0:
        return None
    noise = normal(seed, _FORECAST, (slots + 1, seats, 2), dtype)
    return (noise * spread - spread**2 / 2).exp()
