"""Time stamps of a file to a regular axis of standard time, and values along it to slots."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridbazaar.errors import DataError


def standard_time(stamps: pd.Series, zone: str | None, where: str) -> pd.DatetimeIndex:
    """Return naive standard time (no summer time) for the time stamps of a series, row by row.

    Stamps with an offset are converted to `zone`; naive ones are the zone's clock time, or standard
    time already where `zone` is None. Raises DataError for stamps that cannot be read or do not
    exist in the zone, and for an unknown or missing zone.
    """
    time = _parse(stamps, where)
    if zone is not None and time.tz is None:
        try:
            time = time.tz_localize(_zone(zone, where), ambiguous="infer", nonexistent="raise")
        except ValueError as error:
            raise DataError(
                f"{where}: time stamps are not clock time of {zone} ({error}); where the file "
                "knows no summer time, set time_zone to null"
            ) from None
    return _without_offset(time, zone, where)


def event_time(stamps: pd.Series, zone: str | None, where: str) -> pd.DatetimeIndex:
    """Return naive standard time for single events, in any order.

    As `standard_time`, but the hour that summer time's end repeats is read as standard time and the
    one its start skips as the hour after. Raises DataError.
    """
    time = _parse(stamps, where)
    if zone is not None and time.tz is None:
        second = np.zeros(len(time), bool)
        time = time.tz_localize(
            _zone(zone, where), ambiguous=second, nonexistent=pd.Timedelta(hours=1)
        )
    return _without_offset(time, zone, where)


def _zone(zone: str, where: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise DataError(
            f"{where}: unknown time_zone {zone!r}; give an IANA name such as Europe/Berlin"
        ) from None


def _without_offset(time: pd.DatetimeIndex, zone: str | None, where: str) -> pd.DatetimeIndex:
    if zone is None:
        if time.tz is not None:
            raise DataError(f"{where} has time stamps with an offset ({time.tz}); set time_zone")
        return time
    first = time[0].tz_convert(_zone(zone, where))
    offset = (first.utcoffset() or pd.Timedelta(0)) - (first.dst() or pd.Timedelta(0))
    return time.tz_convert("UTC").tz_localize(None) + pd.Timedelta(offset)


def _parse(stamps: pd.Series, where: str) -> pd.DatetimeIndex:
    if pd.api.types.is_numeric_dtype(stamps):
        raise DataError(f"{where}: time column {stamps.name!r} holds numbers, expected time stamps")
    try:
        time = pd.DatetimeIndex(pd.to_datetime(stamps))
    except (ValueError, TypeError):
        try:
            time = pd.DatetimeIndex(pd.to_datetime(stamps, utc=True))
        except (ValueError, TypeError) as error:
            raise DataError(f"{where}: time column {stamps.name!r}: {error}") from None
    if time.hasnans:
        rows = np.flatnonzero(time.isna())
        raise DataError(f"{where}: {len(rows)} time stamps missing, first in row {rows[0]}")
    if not len(time):
        raise DataError(f"{where} has no rows")
    return time


def check_order(time: pd.DatetimeIndex, where: str) -> None:
    """Raise DataError where time stamps repeat or go backwards, naming the first."""
    if time.has_duplicates:
        double = time[time.duplicated()]
        raise DataError(
            f"{where}: {len(double)} duplicate time stamps, first {double[0]}; keep one row for "
            "each (clock time with summer time needs time_zone)"
        )
    if not time.is_monotonic_increasing:
        row = int(np.flatnonzero(np.diff(time.to_numpy()) < np.timedelta64(0))[0]) + 1
        raise DataError(f"{where}: time goes backwards at row {row} ({time[row]}); sort the file")


def regular_step(time: pd.DatetimeIndex, where: str) -> pd.Timedelta:
    """Return the step of a regular axis; raises DataError at the first gap."""
    if len(time) < 2:
        raise DataError(f"{where} has {len(time)} row in the chosen days, expected at least 2")
    steps = np.diff(time.to_numpy())
    step = np.median(steps)
    wrong = np.flatnonzero(steps != step)
    if len(wrong):
        i = int(wrong[0])
        raise DataError(
            f"{where}: {len(wrong)} gaps, first after {time[i]} (next is {time[i + 1]}, expected a "
            f"step of {pd.Timedelta(step)}); fill it or choose days without it"
        )
    return pd.Timedelta(step)


def whole_days(
    time: pd.DatetimeIndex, start: pd.Timestamp | None, days: int | None, where: str
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return begin and end of the chosen days, by default all whole days that the file covers."""
    step = time[1] - time[0] if len(time) > 1 else pd.Timedelta(0)
    begin = time[0].ceil("D") if start is None else start.normalize()
    end = (time[-1] + step).floor("D") if days is None else begin + pd.Timedelta(days=days)
    if begin < time[0] or end > time[-1] + step or end <= begin:
        raise DataError(
            f"{where} covers {time[0]} to {time[-1] + step}, not the whole days {begin} to {end}; "
            "change start or days"
        )
    return begin, end


def to_slots(
    values: NDArray[np.float64], step: pd.Timedelta, slot_minutes: int, where: str
) -> NDArray[np.float64]:
    """Return `values` [N, C] at slots: the mean of finer steps, each value held over coarser ones.

    Raises DataError where neither step is a multiple of the other.
    """
    slot = pd.Timedelta(minutes=slot_minutes)
    if slot % step == pd.Timedelta(0):
        each = slot // step
        if len(values) % each:
            raise DataError(f"{where}: {len(values)} steps of {step} do not fill slots of {slot}")
        return values.reshape(-1, each, values.shape[1]).mean(axis=1)
    if step % slot == pd.Timedelta(0):
        return values.repeat(step // slot, axis=0)
    raise DataError(
        f"{where}: steps of {step} do not fit slots of {slot}; one must be a multiple of the other"
    )
