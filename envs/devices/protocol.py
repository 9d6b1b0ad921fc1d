"""Device protocol: what every kind of flexible unit is to the simulation, and the kinds by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from gridbazaar.config import Config
from gridbazaar.envs.devices.site import Site
from gridbazaar.envs.observation import Feature
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.registry import Registry


class DeviceConfig(Config):
    """Parameters of a kind; values live in YAML, configs/devices/<kind>.yaml or a task."""


class Band(NamedTuple):
    """Power that units can hold for a whole slot, [B, D] kW each.

    Attributes:
        must_kw: what a unit must take to keep its promise, 0 or less.
        take_kw: what it may take beside that, 0 or more.
        give_kw: what it may give and still keep its promise, 0 or more.
    """

    must_kw: Tensor
    take_kw: Tensor
    give_kw: Tensor

    def nearest(self, request_kw: Tensor) -> Tensor:
        """Return the power within the band that is nearest to a request."""
        return torch.minimum(torch.maximum(request_kw, self.must_kw - self.take_kw), self._most_kw)

    @property
    def _most_kw(self) -> Tensor:
        return self.must_kw + self.give_kw


class Profile(NamedTuple):
    """A day of D units in T slots, as a linear programme sees it: tensors or arrays [B, D, T].

    Content e at a slot's end, before anything leaves, follows from charge c and discharge d in kW:
    e = carried x (e of the slot before) + brought + (efficiency x c - d / efficiency) x slot_h.

    Attributes:
        carried: share of the content of the slot before that is still there; 0 in the first slot.
        brought_kwh: content that comes at the slot's beginning.
        floor_kwh, ceiling_kwh: bounds of e; the floor holds what a unit has promised.
        import_kw, export_kw: bounds of c and d.
        due: 1 where what is missing to `target_kwh` at the slot's end has not been served.
        target_kwh: see there.
        end_worth: [B, D] EUR per kWh of content at the day's end above `reference_kwh`.
        reference_kwh: [B, D].
    """

    carried: Any
    brought_kwh: Any
    floor_kwh: Any
    ceiling_kwh: Any
    import_kw: Any
    export_kw: Any
    due: Any
    target_kwh: Any
    end_worth: Any
    reference_kwh: Any


@dataclass(frozen=True)
class Device(ABC):
    """All units of one kind in a community, D of them, in B markets.

    A unit's state is what changes during a day: a named tuple of tensors [B, D] that no method
    changes in place, so that a world can be copied, taken apart by markets and differentiated.
    Power in kW is positive where a unit gives and negative where it takes.

    Class attributes:
        Config: the kind's parameters.
        role: of a seat without load that owns a unit.
        battery: whether a unit only shifts energy in time: its owner is a prosumer, it counts among
            those that could balance the community, and what it takes is not used up.
        RATINGS: features that never change; `ratings` gives them.
        SCHEDULE: features that follow from data alone; `schedule` gives them.
        FEATURES: features of the state; `observe` gives them. Kinds that show the same under one
            name share the feature.

    Attributes:
        seat: [D] number of the seat that owns each unit; while being installed, of its owner.
        import_kw, export_kw: [D] the most that a unit can take, and give.
        efficiency: [D] one way, in (0, 1].
        wear_price: [D] EUR per kWh given.
        slot_h: hours of a slot.
    """

    seat: Tensor
    import_kw: Tensor
    export_kw: Tensor
    efficiency: Tensor
    wear_price: Tensor
    slot_h: float

    Config: ClassVar[type[DeviceConfig]]
    role: ClassVar[str]
    battery: ClassVar[bool] = False
    RATINGS: ClassVar[tuple[Feature, ...]] = ()
    SCHEDULE: ClassVar[tuple[Feature, ...]] = ()
    FEATURES: ClassVar[tuple[Feature, ...]] = ()

    @classmethod
    @abstractmethod
    def install(cls, config: Any, site: Site) -> Self:
        """Return the units of a community: in homes, or in seats of their own (`add_seats`)."""

    @abstractmethod
    def begin(self, row: Tensor, chance: Tensor) -> Any:
        """Return the state at a day's start.

        Args:
            row: [B] number of the day's first slot in the data.
            chance: [B, D] uniform in (0, 1), for what is carried in from the day before.
        """

    def arrive(self, state: Any, row: Tensor) -> Any:
        """Return the state as slot `row` [B], not the day's first, begins: who comes, what is new.

        It is seen by the bidder, and bids for this slot were not sent yet: nothing that is metered
        in the slot may enter.
        """
        return state

    @abstractmethod
    def band(self, state: Any) -> Band:
        """Return what a unit must and may do for a whole slot."""

    @abstractmethod
    def advance(self, state: Any, power_kw: Tensor) -> Any:
        """Return the state after a slot at a power [B, D] that is feasible, or less of it."""

    def depart(self, state: Any) -> tuple[Any, Tensor]:
        """Return the state after what leaves at the slot's end, and what it misses, [B, D] kWh."""
        return state, torch.zeros_like(self.content_kwh(state))

    @abstractmethod
    def content_kwh(self, state: Any) -> Tensor:
        """Return the energy that a unit holds, [B, D]."""

    def stored_eur(self, before: Any, after: Any, end: SlotPrices, over: bool) -> Tensor:
        """Return what the change of a unit's content in an interval is worth, [B, D] EUR.

        Summed over the day it is the worth of what is left against that of what was there, less
        what is still wanted; so no bidder gains by selling out.

        Args:
            before: the state before the slot.
            after: the state after it, departures included.
            end: [B, 1] prices of the day's last slot.
            over: whether this was the last slot.
        """
        return torch.zeros_like(self.content_kwh(after))

    def turns_down_below(self) -> Tensor | None:
        """Return the feed-in price below which units turn their seat's PV down, [D] EUR/kWh.

        What of a surplus did not clear is then not generated: PV holds the must-run net that the
        seat commits to. None where the kind leaves PV alone.
        """
        return None

    def wear_eur(self, power_kw: Tensor) -> Tensor:
        """Return the wear of a slot at this power, [B, D] EUR."""
        return power_kw.clamp(min=0) * self._wear_per_kw

    @cached_property
    def _wear_per_kw(self) -> Tensor:
        """Wear of a slot, [D] EUR per kW given."""
        return self.wear_price * self.slot_h

    def ratings(self) -> dict[str, Tensor]:
        """Return what RATINGS names, [D] each."""
        return {}

    def schedule(self) -> dict[str, Tensor]:
        """Return what SCHEDULE names, [T, D] each, as the bidder for a slot may know it."""
        return {}

    def observe(self, state: Any) -> dict[str, Tensor]:
        """Return what FEATURES names, [B, D] each in physical units."""
        return {}

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return the least and the greatest of what FEATURES names, whatever a unit does."""
        return {}

    def foreseen(self) -> Self:
        """Return the units as those know them who plan ahead: without what is still to come."""
        return self

    def profile(self, state: Any, row: Tensor, end: SlotPrices) -> Profile | None:
        """Return the day's linear programme for the optimum; None where the kind has none.

        Args:
            state: at the day's start.
            row: [B, T] numbers of the day's slots.
            end: [B, 1] prices of the last one.
        """
        return None


DEVICES: Registry[type[Device]] = Registry("device", "gridbazaar.envs.devices")
