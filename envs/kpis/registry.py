"""How a key figure is entered, and the sums and shares that figures are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gridbazaar.envs.day_record import DayRecord
from gridbazaar.registry import Registry

Better = Literal["lower", "higher", "-"]


@dataclass(frozen=True)
class Kpi:
    """What a figure is called and means; `unit` names money as EUR whatever the currency."""

    name: str
    unit: str
    better: Better
    meaning: str
    compute: Callable[[DayRecord], Tensor]

    def __post_init__(self) -> None:
        # As a registry asks of every entry: what it is, and which module brought it.
        object.__setattr__(self, "__doc__", self.meaning)
        object.__setattr__(self, "__module__", self.compute.__module__)


KPIS: Registry[Kpi] = Registry("key figure", "gridbazaar.envs.kpis")


def enter(name: str, unit: str, better: Better, meaning: str) -> Callable:
    """Enter a function of a day under a name; raises ValueError where it is taken."""

    def decorate(function: Callable[[DayRecord], Tensor]) -> Callable[[DayRecord], Tensor]:
        KPIS.register(name)(Kpi(name, unit, better, meaning, function))
        return function

    return decorate


def kpi(unit: str, better: Better) -> Callable:
    """Enter a function under its own name; the first line of its docstring is the meaning."""

    def decorate(function: Callable[[DayRecord], Tensor]) -> Callable[[DayRecord], Tensor]:
        meaning = (function.__doc__ or "").strip().partition("\n")[0]
        return enter(function.__name__, unit, better, meaning)(function)

    return decorate


def kwh(power_kw: Tensor, day: DayRecord) -> Tensor:
    """Energy over the day, [B] kWh, of power [T, B] or [T, B, N]."""
    energy = power_kw.sum(0) * day.facts.slot_h
    return energy if energy.dim() == 1 else energy.sum(-1)


_ROUNDING = 1e-4  # EUR or kWh a day; float32 prices that tie differ by less


def percentage(part: Tensor, whole: Tensor) -> Tensor:
    """Percentage, NaN where the whole is no more than rounding."""
    return torch.where(whole > _ROUNDING, 100 * part / whole, torch.nan)


def quantile(values: Tensor, q: float) -> Tensor:
    """Nearest-rank quantile [B] of the finite entries of [T, B] or [T, B, N]; NaN without any."""
    flat = values.movedim(1, 0).flatten(1).sort(-1).values
    count = flat.isfinite().sum(-1, keepdim=True)
    rank = ((count * q).ceil().long() - 1).clamp(min=0)
    return torch.where(count > 0, flat.gather(-1, rank), torch.nan).squeeze(-1)
