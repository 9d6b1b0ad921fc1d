"""Chances of a day, drawn whole from each market's own seed before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.dataset import Dataset
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.errors import ArgumentError, UnknownNameError
from gridbazaar.randomness import fold, fresh_seed, normal, uniform, whole_seed

_DAY, _ENERGY, _FORECAST = 101, 102, 103


@dataclass(frozen=True)
class Today:
    """What was decided when the day began.

    Attributes:
        seed: int64 [B] of each market's random streams.
        episode: int64 [B], days that each market began before this one.
        day_seed: int64 [B] of this day's chances.
        first_slot: int64 [B] of the day in the data.
        forecast_error: [B, T + 1, N, 2] factors on the forecasts; None where they are exact.
        end_prices: of the day's last slot, [B, 1] each.
        low_price, high_price: [B, 1] EUR/kWh, the day's lowest feed-in and highest retail price.
    """

    seed: Tensor
    episode: Tensor
    day_seed: Tensor
    first_slot: Tensor
    forecast_error: Tensor | None
    end_prices: SlotPrices
    low_price: Tensor
    high_price: Tensor


class Streams:
    """Random streams of B markets, and how many days each has begun from its own.

    Args:
        seed: of the first environment, or [B]; None: drawn from the machine's entropy when it is
            first needed, and again in every copy.
        markets: B.
        device: where seeds are kept.
    """

    def __init__(self, seed: Tensor | int | None, markets: int, device: torch.device):
        self._device, self._is_drawn = device, seed is None
        self._seed = None if seed is None else seeds_of(seed, markets).to(device)
        self._episode = torch.zeros(markets, dtype=torch.int64, device=device)

    def __getstate__(self) -> dict[str, Any]:
        # A copy plays on as this one, but begins days of its own where nobody gave a seed.
        return {**self.__dict__, "_seed": None if self._is_drawn else self._seed}

    def restart(self, seed: Tensor | int | None, markets: int) -> None:
        """Begin anew from a seed; go on where none is given, and there are streams already.

        Raises ArgumentError for what is no seed of `markets` environments, see `seeds_of`.
        """
        if seed is None and self._seed is not None:
            return
        self._is_drawn = seed is None
        self._seed = seeds_of(fresh_seed() if seed is None else seed, markets).to(self._device)
        self._episode = torch.zeros_like(self._seed)

    def next_day(self) -> tuple[Tensor, Tensor]:
        """Return the seeds, and the days begun before this one, int64 [B] each."""
        assert self._seed is not None
        episode, self._episode = self._episode, self._episode + 1
        return self._seed, episode

    def follow(self, today: Today) -> None:
        """Go on after a day that was begun before, or elsewhere."""
        self._seed, self._episode = today.seed, today.episode + 1


def draw_today(
    community: Community,
    data: Dataset,
    rules: RulesConfig,
    split: str,
    seed: Tensor,
    episode: Tensor,
    first_slot: Tensor | None = None,
) -> Today:
    """Draw what is decided when a day begins.

    Args:
        community: seats and days of the data.
        data: its tables.
        rules: of the task.
        split: whose days are drawn from.
        seed: int64 [B] of each market's random streams.
        episode: int64 [B], days that each market began before.
        first_slot: [B] of the days, where they are given.
    """
    c, day_seed, slots = community, fold(seed, episode), community.slots_per_day
    first = draw_days(day_seed, c.days[split]) if first_slot is None else first_slot.to(day_seed)
    low, high = data.price_range(first)
    return Today(
        seed=seed,
        episode=episode,
        day_seed=day_seed,
        first_slot=first,
        forecast_error=draw_forecast_error(
            day_seed, slots, len(c.seats), rules.forecast_spread, c.pv_kwp.dtype
        ),
        end_prices=data.prices(first + slots - 1),
        low_price=low,
        high_price=high,
    )


def seeds_of(seed: Any, markets: int) -> Tensor:
    """Return a seed for each market, int64 [B]: those given, or counted on from the first's.

    Raises ArgumentError for what is neither a whole number that B can be counted on from, as
    `whole_seed` says, nor int64 [B].
    """
    if not isinstance(seed, Tensor):
        return torch.arange(markets) + whole_seed(seed, markets)  # NumPy's integers too
    if seed.shape != (markets,):
        raise ArgumentError(f"seed has shape {tuple(seed.shape)}, expected ({markets},) or an int")
    if seed.dtype != torch.int64:
        raise ArgumentError(f"seed is {seed.dtype}, expected torch.int64 or an int")
    return seed


def check_split(split: str, days: Mapping[str, Tensor]) -> None:
    """Raise UnknownNameError for an unknown split, and ValueError for one without days."""
    if split not in days:
        raise UnknownNameError("split", split, days)
    if len(days[split]) == 0:
        raise ArgumentError(
            f"the data hold no day of split {split!r}; give longer series or another split"
        )


def check_days(days: Any, markets: int, slots_per_day: int, end: int) -> None:
    """Raise ArgumentError unless `days` holds each market's day's first slot, before `end`."""
    if not isinstance(days, Tensor) or days.dtype != torch.int64:
        given = days.dtype if isinstance(days, Tensor) else repr(days)
        raise ArgumentError(f"days is {given}, expected a tensor of torch.int64")
    if days.shape != (markets,):
        raise ArgumentError(f"days has shape {tuple(days.shape)}, expected ({markets},)")
    wrong = (days < 0) | (days >= end) | (days % slots_per_day != 0)
    if wrong.any():
        raise ArgumentError(
            f"day {days[wrong][0].item()} is not the first slot of a day; expected a multiple "
            f"of {slots_per_day} from 0 to {end - slots_per_day}"
        )


def check_days_of(split: str, days: Tensor, of_splits: Mapping[str, Tensor]) -> None:
    """Raise ArgumentError where a day [B] is none of the split's."""
    for day in days.tolist():
        if day not in of_splits[split]:
            others = [name for name, known in of_splits.items() if day in known] or ["no split"]
            raise ArgumentError(
                f"day {day} belongs to {others[0]}, and this environment plays {split}: choose one "
                "of its days, or say that you mean it by the option any_split=True"
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
