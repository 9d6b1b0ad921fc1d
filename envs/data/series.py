"""Series that a simulation reads: power of homes, sun and background over slots, and sessions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridbazaar.envs.data.sessions import Sessions
from gridbazaar.errors import DataError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class HeatPumps:
    """Heat pumps [P] of a grid's data, whose power is part of the background.

    Attributes:
        bus: [P] pandapower bus.
        rated_kw: [P] electric.
        power_kw, reactive_kvar: [T, P] drawn, so that the homes' heat is as they are used to.
    """

    bus: Ints
    rated_kw: Floats
    power_kw: Floats
    reactive_kvar: Floats


@dataclass(frozen=True)
class Series:
    """Time series of one community, float32, from midnight in whole days.

    start: first slot's beginning, standard time of the place (no summer time: each day has the same
    number of slots), with its offset from UTC where the place's zone is known. T slots, H homes, nb
    background buses. Buses are pandapower indices; series of a user's files have places 0, 1, ...
    instead, to be seated on a grid.

    load_kw, load_kvar [T, H]: what a home draws, before PV, battery and car.
    pv_per_kwp [T, H]: kW from each kWp that stands on the home's roof, 0..1.
    background_p_kw, background_q_kvar [T, nb]: net injection of all else at a bus, export positive.
    grid_pv_kwp, grid_battery_kwh, grid_battery_kw [H]: what the home owns by the grid's data.
    heat_pumps: those whose power is known on its own, None where the data have none.
    """

    start: pd.Timestamp
    slot_minutes: int
    home_names: tuple[str, ...]
    home_bus: Ints
    load_kw: Floats
    load_kvar: Floats
    pv_per_kwp: Floats
    background_bus: Ints
    background_p_kw: Floats
    background_q_kvar: Floats
    grid_pv_kwp: Floats
    grid_battery_kwh: Floats
    grid_battery_kw: Floats
    sessions: Sessions
    heat_pumps: HeatPumps | None = None

    def __post_init__(self) -> None:
        T, H, nb = len(self.load_kw), len(self.home_names), len(self.background_bus)
        shapes = {
            "load_kw": (T, H),
            "load_kvar": (T, H),
            "pv_per_kwp": (T, H),
            "home_bus": (H,),
            "background_p_kw": (T, nb),
            "background_q_kvar": (T, nb),
            "grid_pv_kwp": (H,),
            "grid_battery_kwh": (H,),
            "grid_battery_kw": (H,),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values.shape != shape:
                raise DataError(f"{name} has shape {values.shape}, expected {shape}")
            if not np.isfinite(values).all():
                raise DataError(f"{name} has {int((~np.isfinite(values)).sum())} values not finite")
        if self.start != self.start.normalize() or T % self.slots_per_day or T == 0:
            raise DataError(
                f"series of {T} slots of {self.slot_minutes} minutes from {self.start} are not "
                f"whole days from midnight; cut them to multiples of {self.slots_per_day} slots"
            )

    def first(self, homes: int | None, chargers: int | None) -> Series:
        """Return the series of the first homes and chargers alone; of all where None.

        What else a grid carries stays. Raises DataError where there are fewer.
        """
        names = self.sessions.charger_names
        for wanted, had, what in (
            (homes, len(self.home_names), "homes"),
            (chargers, len(names), "chargers"),
        ):
            if wanted is not None and wanted > had:
                raise DataError(f"task.data.{what} is {wanted}, but the grid has {had} {what}")
        per_home = ("home_names", "home_bus", "grid_pv_kwp", "grid_battery_kwh", "grid_battery_kw")
        per_slot = ("load_kw", "load_kvar", "pv_per_kwp")
        return replace(
            self,
            **{name: getattr(self, name)[:homes] for name in per_home},
            **{name: getattr(self, name)[:, :homes] for name in per_slot},
            sessions=self.sessions.first(chargers),
        )

    @property
    def slots_per_day(self) -> int:
        """Slots in a day."""
        return 24 * 60 // self.slot_minutes

    @property
    def num_days(self) -> int:
        """Whole days that the series cover."""
        return len(self.load_kw) // self.slots_per_day

    @property
    def annual_kwh(self) -> Floats:
        """Consumption [H] of each home scaled to 8,760 hours, kWh."""
        return np.asarray(self.load_kw.mean(axis=0, dtype=np.float64) * 8760, np.float32)

    @property
    def time(self) -> pd.DatetimeIndex:
        """Beginning of each slot."""
        return pd.date_range(
            self.start, periods=len(self.load_kw), freq=pd.Timedelta(minutes=self.slot_minutes)
        )
