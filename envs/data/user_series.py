"""Series from a user's own files of load, PV and charging sessions."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gridbazaar.config import Config, Count, Positive, PositiveShare
from gridbazaar.envs.data.series import Floats, Series
from gridbazaar.envs.data.sessions import no_sessions
from gridbazaar.envs.data.user_files import PowerUnit, TimedFile, read_power
from gridbazaar.envs.data.user_sessions import SessionFile, read_sessions
from gridbazaar.errors import DataError

LARGEST_KW_PER_KWP = 1.5


class LoadFile(TimedFile):
    """Consumption of homes."""

    unit: PowerUnit = Field(
        description="of the columns: energy in the file's own step, or its mean power",
    )
    columns: dict[str, str] = Field(description="name of each home: its column")
    largest_kw: Positive = Field(
        default=100.0,
        description="what a home's peak must keep to, against wrong units",
        json_schema_extra={"unit": "kW"},
    )
    annual_kwh: tuple[Positive, Positive] = Field(
        default=(100.0, 100_000.0),
        description="what a home's use a year must lie between, against wrong units",
        json_schema_extra={"unit": "kWh"},
    )


class PvFile(TimedFile):
    """Generation of homes."""

    unit: PowerUnit = Field(description="as of the load")
    columns: dict[str, str] = Field(description="name of each home: its column")
    kwp: dict[str, Positive] | Literal["peak"] = Field(
        description="size of each home's PV; peak: the highest value of its series",
        json_schema_extra={"unit": "kWp"},
    )


class UserData(Config):
    """A user's files, brought to one axis of standard time: that of `time_zone`."""

    time_zone: str | None = Field(
        default=None,
        description="IANA zone of the place; null: the first that a file names, load before "
        "PV and sessions",
    )
    slot_minutes: Literal[5, 10, 15, 30, 60] = Field(description="length of an interval, min")
    start: str | None = Field(
        description="first day, as in 2017-01-01; null: all whole days of the load file",
    )
    days: Count | None = Field(description="how many whole days; null: all")
    power_factor: PositiveShare = Field(description="of the homes, inductive")
    load: LoadFile = Field(description="the homes' consumption")
    pv: PvFile | None = Field(description="their generation; null: none")
    sessions: SessionFile | None = Field(description="at chargers; null: none")

    @property
    def place(self) -> str | None:
        """Zone of the place; None where nothing names one."""
        files = (self.load, self.pv, self.sessions)
        zones = (self.time_zone, *(file.time_zone for file in files if file is not None))
        return next((zone for zone in zones if zone is not None), None)


def user_series(data: UserData) -> Series:
    """Return the series of a user's files; homes and chargers have places 0, 1, ... for buses.

    Homes without PV in the files get the mean of those that have it, for PV that ownership may draw
    for them; without any, there is no sun, and ownership draws nothing. Raises DataError for what
    the files lack or get wrong.
    """
    homes = tuple(data.load.columns)
    H = len(homes)
    if not H:
        raise DataError(f"{data.load.path}: `columns` names no home; expected at least one")
    begin, load = read_power(
        data.load,
        list(data.load.columns.values()),
        data.load.unit,
        data.slot_minutes,
        _first_day(data.start),
        data.days,
        data.place,
    )
    _check_homes(data.load, load)
    num_days = len(load) * data.slot_minutes // (24 * 60)
    sun, kwp = _sun(data, homes, begin, num_days)
    tangent = np.sqrt(1 / data.power_factor**2 - 1)
    empty = np.empty((len(load), 0), np.float32)
    none = np.zeros(H, np.float32)
    return Series(
        start=begin,
        slot_minutes=data.slot_minutes,
        home_names=homes,
        home_bus=np.arange(H),
        load_kw=load.astype(np.float32),
        load_kvar=(load * tangent).astype(np.float32),
        pv_per_kwp=sun,
        background_bus=np.empty(0, np.int64),
        background_p_kw=empty,
        background_q_kvar=empty,
        grid_pv_kwp=kwp,
        grid_battery_kwh=none,
        grid_battery_kw=none,
        sessions=(
            no_sessions(data.slot_minutes)
            if data.sessions is None
            else read_sessions(data.sessions, begin, num_days, data.slot_minutes)
        ),
    )


def _first_day(start: str | None) -> pd.Timestamp | None:
    if start is None:
        return None
    try:
        return pd.to_datetime(start, format="ISO8601").tz_localize(None)
    except (ValueError, TypeError):
        raise DataError(f"data.start is {start!r}; expected a day such as 2017-01-01") from None


def _check_homes(file: LoadFile, load_kw: NDArray[np.float64]) -> None:
    """Raise DataError for a home that no home can be, which hints at a wrong unit."""
    annual = load_kw.mean(axis=0) * 8760
    low, high = file.annual_kwh
    for column, peak, energy in zip(
        file.columns.values(), load_kw.max(axis=0), annual, strict=True
    ):
        if peak > file.largest_kw or not low <= energy <= high:
            raise DataError(
                f"{file.path}: column {column!r} read as {file.unit} peaks at {peak:.4g} kW and "
                f"makes {energy:.4g} kWh a year; expected a home of at most {file.largest_kw:g} kW "
                f"and {low:g} to {high:g} kWh; set unit to one of "
                f"{', '.join(get_args(PowerUnit))}, or largest_kw and annual_kwh where it is right"
            )


def _sun(
    data: UserData, homes: tuple[str, ...], begin: pd.Timestamp, num_days: int
) -> tuple[Floats, Floats]:
    """Return kW per kWp [T, H] and the homes' own kWp [H]."""
    T, H = num_days * 24 * 60 // data.slot_minutes, len(homes)
    kwp = np.zeros(H, np.float32)
    file = data.pv
    if file is None:
        return np.zeros((T, H), np.float32), kwp
    owners = list(file.columns)
    named = set(owners) | (set() if file.kwp == "peak" else set(file.kwp))
    strange = sorted(named - set(homes))
    missing = [] if file.kwp == "peak" else sorted(set(owners) - set(file.kwp))
    if strange or missing or not owners:
        raise DataError(
            f"{file.path}: PV of homes {owners}: not among the homes of the load file: {strange}; "
            f"without kwp: {missing}"
        )
    _, power = read_power(
        file, list(file.columns.values()), file.unit, data.slot_minutes, begin, num_days
    )
    peak = power.max(axis=0)
    size = peak if file.kwp == "peak" else np.array([file.kwp[home] for home in owners])
    for home, top, rated in zip(owners, peak, size, strict=True):
        if not 0 < top <= LARGEST_KW_PER_KWP * rated:
            raise DataError(
                f"{file.path}: PV of {home!r} read as {file.unit} peaks at {top:.4g} kW for "
                f"{rated:.4g} kWp; expected more than 0 and at most {LARGEST_KW_PER_KWP} kW per "
                "kWp; check unit and kwp"
            )
    each = power / size
    sun = np.repeat(each.mean(axis=1, keepdims=True), H, axis=1).astype(np.float32)
    index = [homes.index(home) for home in owners]
    sun[:, index] = each
    kwp[index] = size
    return sun, kwp
