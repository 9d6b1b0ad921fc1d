"""A community as tensors: who sits where, what each owns, and a year of what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gridbazaar.envs.devices.fleet import Fleet
from gridbazaar.envs.layout import Layout
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.envs.seat_groups import SeatGroup, seat_groups


@dataclass(frozen=True)
class Community:
    """Everything that does not depend on what the seats do.

    T slots in the data, N seats, M buses with injections.

    Attributes:
        seats: name per seat, `<role>_<number>`.
        homes: per seat, the name that the data give its home; empty for other seats.
        roles: of the community; those of every community first.
        role: [N] number among them.
        pv_kwp: [N] PV rating.
        fleet: the devices that the seats own.
        layout: entries of observation and action.
        load_kw, pv_kw: [T, N] metered.
        own: [T, N, OWN] features, then those of the layout's schedule for each device slot, scaled.
        public: [T, PUBLIC] features, scaled.
        prices: [T] each.
        bus: [N] row of each seat's bus among the feeder's injection buses.
        bus_p_kw: [T, M] injections of those outside the market.
        bus_q_kvar: [T, M] reactive injections of all.
        days: first slots of the days of each split.
        slot_minutes: length of an interval.
        currency: of every price and amount.
    """

    seats: tuple[str, ...]
    homes: tuple[str, ...]
    roles: tuple[str, ...]
    role: Tensor
    pv_kwp: Tensor
    fleet: Fleet
    layout: Layout
    load_kw: Tensor
    pv_kw: Tensor
    own: Tensor
    public: Tensor
    prices: SlotPrices
    bus: Tensor
    bus_p_kw: Tensor
    bus_q_kvar: Tensor
    days: dict[str, Tensor]
    slot_minutes: int
    currency: str

    @property
    def slot_h(self) -> float:
        """Length of an interval in hours."""
        return self.slot_minutes / 60

    @property
    def slot_s(self) -> int:
        """Length of an interval in seconds."""
        return self.slot_minutes * 60

    @property
    def slots_per_day(self) -> int:
        """Intervals of an episode."""
        return 24 * 60 // self.slot_minutes

    def seats_of(self, role: str) -> Tensor:
        """Return the seats' numbers of one role."""
        return (self.role == self.roles.index(role)).nonzero().squeeze(-1)

    @cached_property
    def groups(self) -> tuple[SeatGroup, ...]:
        """Seats alike, in the order of their first seats."""
        return seat_groups(self.layout, self.fleet, self.roles, self.role, self.pv_kwp)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Community:
        """Return a copy on `device`, real numbers in `dtype`."""
        moved: Community = _moved(self, device, dtype)
        return moved


def _moved(value: Any, device: torch.device | str, dtype: torch.dtype) -> Any:
    """Return a nest of dataclasses, named tuples and dicts with its tensors moved."""
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None)
    if isinstance(value, dict):
        return {key: _moved(part, device, dtype) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: _moved(getattr(value, f.name), device, dtype) for f in fields(value)}
        return replace(value, **parts)
    if hasattr(value, "_fields"):
        return type(value)(*(_moved(part, device, dtype) for part in value))
    return value
