"""One axis of standard time for all files of a place, and the clocks that lead to it."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridbazaar.envs.data.time_stamps import instants
from gridbazaar.errors import DataError

ClockChange = Literal["exact", "padded"]


def standard_offset(zone: str, year: int, where: str = "") -> pd.Timedelta:
    """Return what a zone's clock is ahead of UTC without summer time, the same for a whole axis.

    It is the smaller of January's and July's, whichever of the two the zone's law calls standard
    (Irish law: summer's). Raises DataError for an unknown zone.
    """
    clock = zone_of(zone, where)
    middles = (pd.Timestamp(year, month, 1, 12, tz=clock) for month in (1, 7))
    return pd.Timedelta(min(middle.utcoffset() or pd.Timedelta(0) for middle in middles))


def zone_of(zone: str, where: str) -> ZoneInfo:
    """Return a time zone by its IANA name; raises DataError for an unknown one."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(
            f"{where}: unknown time_zone {zone!r}; give an IANA name such as Europe/Berlin"
        ) from None


def clock_rows(
    stamps: pd.Series,
    zone: str | None,
    where: str,
    time_format: str | None = None,
    change: ClockChange = "exact",
) -> tuple[NDArray[np.int64], pd.DatetimeIndex]:
    """Return rows of a file and their time: UTC, or naive where it has neither offset nor zone.

    The rows are all of them in the file's order. Where `change` is padded, each day of the file has
    24 hours: rows of the hour that spring skips are left out, and those of the hour that autumn
    repeats stand twice if the file has them once.

    Raises:
        DataError: stamps as in `time_stamps.instants`; an hour that the zone's clocks skip, or one
            they repeat that does not stand there twice.
    """
    time = instants(stamps, time_format, where)
    rows = np.arange(len(time))
    if zone is None or time.tz is not None:
        return rows, time
    clock = zone_of(zone, where)
    first = np.ones(len(time), bool)
    skipped = np.asarray(time.tz_localize(clock, ambiguous=first, nonexistent="NaT").isna())
    if change == "padded":
        rows, time, first = rows[~skipped], time[~skipped], first[~skipped]
    elif skipped.any():
        raise DataError(
            f"{where}: {int(skipped.sum())} rows stand in an hour that the clocks of {zone} skip, "
            f"first {time[skipped][0]} ({_rows_of_day(time, skipped)}); {_MEND}"
        )
    repeated = np.asarray(time.tz_localize(clock, ambiguous="NaT", nonexistent="NaT").isna())
    stands = pd.Series(np.where(repeated, 1, 0)).groupby(time)
    number, count = stands.cumcount().to_numpy(), stands.transform("size").to_numpy()
    first[repeated & (number > 0)] = False
    wrong = repeated & (count != 2)
    if change == "padded":
        again = np.flatnonzero(wrong & (count == 1))
        rows, time = np.append(rows, rows[again]), pd.DatetimeIndex(time.append(time[again]))
        first = np.append(first, np.zeros(len(again), bool))
    elif wrong.any():
        raise DataError(
            f"{where}: {time[wrong][0]} stands there {count[wrong][0]} times, but the clocks of "
            f"{zone} pass it twice ({_rows_of_day(time, wrong)}); {_MEND}"
        )
    instant = time.tz_localize(clock, ambiguous=first, nonexistent="raise").tz_convert("UTC")
    if change == "padded":
        order = instant.argsort(kind="stable")
        rows, instant = rows[order], instant[order]
    return rows, instant


_MEND = (
    "where the file knows no summer time, set time_zone to null; where each of its days has 24 "
    "hours, set clock_change to padded"
)


def _rows_of_day(time: pd.DatetimeIndex, wrong: NDArray[np.bool_]) -> str:
    day = time[wrong][0].normalize()
    return f"{day.date()} has {int((time.normalize() == day).sum())} rows"


def on_axis(
    time: pd.DatetimeIndex, zone: str | None, offset: pd.Timedelta | None, where: str
) -> pd.DatetimeIndex:
    """Return naive standard time of the axis that is `offset` ahead of UTC.

    Naive times are on it already. Without an offset it is the zone's. Raises DataError where there
    is neither.
    """
    if time.tz is None:
        return time
    if offset is None:
        if zone is None:
            raise DataError(
                f"{where} has time stamps with an offset from UTC; set time_zone to the zone of "
                "the place"
            )
        offset = standard_offset(zone, time[0].year, where)
    return time.tz_localize(None) + offset


def standard_time(
    stamps: pd.Series,
    zone: str | None,
    where: str,
    offset: pd.Timedelta | None = None,
    time_format: str | None = None,
) -> pd.DatetimeIndex:
    """Return naive standard time (no summer time) for the time stamps of a series, row by row.

    Stamps with an offset are moved to the axis; naive ones are the zone's clock time, or standard
    time already where `zone` is None. Raises DataError as `clock_rows` and `on_axis`.
    """
    return on_axis(clock_rows(stamps, zone, where, time_format)[1], zone, offset, where)


def event_time(
    stamps: pd.Series,
    zone: str | None,
    where: str,
    offset: pd.Timedelta | None = None,
    time_format: str | None = None,
) -> pd.DatetimeIndex:
    """Return naive standard time for single events, in any order.

    As `standard_time`, but the hour that summer time's end repeats is read as standard time and the
    one its start skips as the hour after. Raises DataError.
    """
    time = instants(stamps, time_format, where)
    if zone is not None and time.tz is None:
        second = np.zeros(len(time), bool)
        time = time.tz_localize(
            zone_of(zone, where), ambiguous=second, nonexistent=pd.Timedelta(hours=1)
        ).tz_convert("UTC")
    return on_axis(time, zone, offset, where)
