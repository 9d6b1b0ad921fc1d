"""Registry of key figures, and the sums and shares that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from gridbazaar.envs.day_record import DayRecord
from gridbazaar.registry import Registry

Better = Literal["lower", "higher", "-"]
# Tables of a report, in its order; `roles` says who pays.
Group = Literal["comparison", "roles", "market", "network", "ledger"]
GROUPS: tuple[Group, ...] = get_args(Group)


def _needs_more(day: DayRecord) -> Tensor:
    raise TypeError("this figure is not computed from the record of a day alone")


@dataclass(frozen=True)
class Kpi:
    """A key figure.

    Attributes:
        name: in files; with spaces for underscores in tables.
        unit: names money as EUR whatever the currency.
        better: which side is.
        meaning: in one line.
        compute: gives it, [B], of a day's record; raises TypeError where that needs more.
        group: the report's table in which it stands.
    """

    name: str
    unit: str
    better: Better
    meaning: str
    compute: Callable[[DayRecord], Tensor] = _needs_more
    group: Group = "comparison"

    def __post_init__(self) -> None:
        # As a registry asks of every entry: what it is, and which module brought it.
        object.__setattr__(self, "__doc__", self.meaning)
        object.__setattr__(self, "__module__", self.compute.__module__)


KPIS: Registry[Kpi] = Registry("key figure", "gridbazaar.envs.kpis")


def enter(
    name: str, unit: str, better: Better, meaning: str, group: Group = "comparison"
) -> Callable:
    """Enter a function of a day under a name; raises ValueError where it is taken."""

    def decorate(function: Callable[[DayRecord], Tensor]) -> Callable[[DayRecord], Tensor]:
        KPIS.register(name)(Kpi(name, unit, better, meaning, function, group))
        return function

    return decorate


def kpi(unit: str, better: Better, group: Group = "comparison") -> Callable:
    """Enter a function under its own name; the first line of its docstring is the meaning."""

    def decorate(function: Callable[[DayRecord], Tensor]) -> Callable[[DayRecord], Tensor]:
        meaning = (function.__doc__ or "").strip().partition("\n")[0]
        return enter(function.__name__, unit, better, meaning, group)(function)

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
