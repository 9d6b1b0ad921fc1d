"""What chance decides before a day begins, drawn whole from each market's own seed."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.randomness import fold, normal, uniform

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


def draw_chance(seed: Tensor, seats: int, slots: int, dtype: torch.dtype) -> Tensor:
    """Return a number in (0, 1) for each device slot, [B, seats, slots]: what is carried in."""
    each = [uniform(fold(seed, k) if k else seed, _ENERGY, (seats,), dtype) for k in range(slots)]
    return torch.stack(each, -1)


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
