"""A community as tensors: who sits where, what each owns, and a year of what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from gridbazaar.envs.devices.storage import StorageLimits
from gridbazaar.envs.observation import ROLES


@dataclass(frozen=True)
class Community:
    """Everything that does not depend on what the seats do.

    T slots in the data, N seats, M buses with injections.

    Attributes:
        seats: name per seat, `<role>_<number>`.
        role: [N] index into ROLES.
        seat: [N, SEAT] features in physical units.
        storage: hardware limits of batteries and chargers.
        battery_kwh: [N] capacity of stationary batteries, zero for chargers.
        lent_kwh: [N] that a driver lends for feeding back.
        wear_price: [N] EUR per kWh discharged.
        load_kw, pv_kw: [T, N] metered.
        need_kwh: [T, N] that a car seen for the first time in this slot wants.
        session_kwh: [T, N] that the plugged car wanted on arrival.
        departs: [T, N] 1 in the last slot of a car, else 0.
        slots_left: [T, N] slots that the plugged car still stays, this one included.
        own: [T, N, OWN] features, scaled.
        public: [T, PUBLIC] features, scaled.
        prices: [T, 5] EUR/kWh: retail, feed-in, local charge, worth of a kWh left in a battery at
            the day's end, and of one that a plugged car still wants then.
        bus: [N] row of each seat's bus among the feeder's injection buses.
        bus_p_kw: [T, M] injections of those outside the market.
        bus_q_kvar: [T, M] reactive injections of all.
        days: first slots of the days of each split.
        slot_minutes: length of an interval.
        currency: of every price and amount.
    """

    seats: tuple[str, ...]
    role: Tensor
    seat: Tensor
    storage: StorageLimits
    battery_kwh: Tensor
    lent_kwh: Tensor
    wear_price: Tensor
    load_kw: Tensor
    pv_kw: Tensor
    need_kwh: Tensor
    session_kwh: Tensor
    departs: Tensor
    slots_left: Tensor
    own: Tensor
    public: Tensor
    prices: Tensor
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
    def slots_per_day(self) -> int:
        """Intervals of an episode."""
        return 24 * 60 // self.slot_minutes

    def seats_of(self, role: str) -> Tensor:
        """Return the seats' numbers of one role."""
        return (self.role == ROLES.index(role)).nonzero().squeeze(-1)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Community:
        """Return a copy on `device`, real numbers in `dtype`."""

        def move(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(device, dtype if value.is_floating_point() else None)
            if isinstance(value, dict):
                return {k: move(v) for k, v in value.items()}
            if isinstance(value, StorageLimits):
                return StorageLimits(
                    *(getattr(value, f.name).to(device, dtype) for f in fields(value))
                )
            return value

        return replace(self, **{f.name: move(getattr(self, f.name)) for f in fields(self)})
