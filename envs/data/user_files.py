"""Time series of a user's file, at slots on the axis of the place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timezone
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gridbazaar.config import Config, Positive
from gridbazaar.envs.data.slots import (
    Stamps,
    check_order,
    intervals,
    resolutions,
    to_slots,
    whole_days,
)
from gridbazaar.envs.data.tables import TableFile, numbers, pick, read_table
from gridbazaar.envs.data.time_axis import ClockChange, clock_rows, on_axis, standard_offset
from gridbazaar.errors import DataError

PowerUnit = Literal["kW", "W", "MW", "kWh", "Wh", "MWh"]
PriceUnit = Literal["per_kwh", "per_mwh", "cent_per_kwh"]
POWER_FACTOR: dict[PowerUnit, float] = {
    "kW": 1.0,
    "W": 1e-3,
    "MW": 1e3,
    "kWh": 1.0,
    "Wh": 1e-3,
    "MWh": 1e3,
}
PRICE_FACTOR: dict[PriceUnit, float] = {"per_kwh": 1.0, "per_mwh": 1e-3, "cent_per_kwh": 1e-2}
_SPIKE = 10.0


class LongTable(Config):
    """Columns of a table that has one row for each series and interval: whose it is, how much."""

    series: str = Field(description="column that says whose a row is")
    amount: str = Field(description="column that says how much")


class TimedFile(TableFile):
    """A file with a time column; see `time_axis.clock_rows` for its change of clock."""

    time_column: str | None = Field(
        description="with the time stamps; null: the index of a Parquet file",
    )
    stamps: Stamps = Field(
        default="start",
        description="whether they are the start or the end of a row's interval",
    )
    clock_change: ClockChange = Field(
        default="exact",
        description="padded where each day of the file has 24 hours of clock time, else exact",
    )
    long: LongTable | None = Field(
        default=None,
        description="where all series stand in one column: which columns say whose and how "
        "much; null: one each",
    )


class PriceFile(TimedFile):
    """One column of prices."""

    column: str = Field(description="with the prices")
    unit: PriceUnit = Field(description="of the prices, in money of the tariff's currency")
    mean_between: tuple[Positive, Positive] = Field(
        default=(0.01, 1.0),
        description="what the mean of the absolute prices must lie between; a factor of 100, "
        "between cents and euros, leaves it",
        json_schema_extra={"unit": "EUR/kWh"},
    )


def read_slots(
    file: TimedFile,
    columns: Sequence[str],
    slot_minutes: int,
    start: pd.Timestamp | None,
    days: int | None,
    energy: bool = False,
    place: str | None = None,
) -> tuple[pd.Timestamp, NDArray[np.float64]]:
    """Return the first day and the columns [T, C] in slots of the chosen days.

    Gaps and missing cells count only within the chosen days.

    Args:
        file: where.
        columns: which; of a long table, names of series.
        slot_minutes: length of a slot.
        start: first day, on its own axis where it has an offset from UTC, else on the place's.
        days: how many; None for all.
        energy: whether values are what a row's interval holds; they are divided by its hours.
        place: zone of the place; None for the file's own.

    Returns:
        The first day has the axis's offset from UTC, or none where no zone is known.

    Raises:
        DataError: whatever cannot be believed.
    """
    where = str(file.path)
    text = () if file.long is None else (file.long.series,)
    table = read_table(file, text)
    if file.long is None:
        return _chosen(table, file, columns, slot_minutes, start, days, energy, place)
    names = pick(table, text, where).iloc[:, 0].astype(str)
    found = []
    for name in columns:
        rows = table[(names == name).to_numpy()]
        if rows.empty:
            pick(pd.DataFrame(columns=sorted(set(names))), [name], where)
        value = [file.long.amount]
        start, values = _chosen(rows, file, value, slot_minutes, start, days, energy, place)
        days = len(values) * slot_minutes // (24 * 60)
        found.append(values)
    assert start is not None
    return start, np.concatenate(found, axis=1)


def _chosen(
    table: pd.DataFrame,
    file: TimedFile,
    columns: Sequence[str],
    slot_minutes: int,
    start: pd.Timestamp | None,
    days: int | None,
    energy: bool,
    place: str | None,
) -> tuple[pd.Timestamp, NDArray[np.float64]]:
    where = str(file.path)
    stamps = _stamps(table, file)
    rows, instant = clock_rows(stamps, file.time_zone, where, file.time_format, file.clock_change)
    offset = _offset(start, place or file.time_zone, instant[0].year, where)
    stamped = on_axis(instant, place or file.time_zone, offset, where)
    check_order(stamped, where)
    time, steps = intervals(stamped, file.stamps, where)
    naive = None if start is None else start.tz_localize(None)
    begin, end = whole_days(time[0], time[-1] + pd.Timedelta(steps[-1]), naive, days, where)
    inside = np.asarray((time >= begin) & (time < end))
    time, steps = time[inside], steps[inside]
    named = table if list(table.index.names) == [None] else table.reset_index()
    picked = pick(named, columns, where).iloc[rows[inside]].set_axis(time, axis=0)
    runs = resolutions(time, steps, where)
    if time[0] != begin or time[-1] + pd.Timedelta(steps[-1]) != end:
        raise DataError(
            f"{where}: gap at the edge of {begin} to {end}: rows run {time[0]} to {time[-1]}"
        )
    values = numbers(picked, file)
    if energy:
        values = values / (steps / np.timedelta64(1, "h"))[:, None]
    parts = [
        to_slots(values[run], pd.Timedelta(steps[run.start]), slot_minutes, where) for run in runs
    ]
    return _with_offset(begin, offset), np.concatenate(parts)


def _stamps(table: pd.DataFrame, file: TimedFile) -> pd.Series:
    where = str(file.path)
    if file.time_column is None:
        if not isinstance(table.index, pd.DatetimeIndex):
            there = ", ".join(str(c) for c in table.reset_index().columns[:20])
            raise DataError(
                f"{where} has no index of time stamps; set time_column to one of {there}"
            )
        return table.index.to_series()
    named = table if list(table.index.names) == [None] else table.reset_index()
    return pick(named, [file.time_column], where).iloc[:, 0]


def _offset(
    start: pd.Timestamp | None, zone: str | None, year: int, where: str
) -> pd.Timedelta | None:
    """Return what the axis is ahead of UTC, None where nothing says it."""
    if start is not None and start.tz is not None:
        return pd.Timedelta(start.utcoffset() or pd.Timedelta(0))
    return None if zone is None else standard_offset(zone, year, where)


def _with_offset(begin: pd.Timestamp, offset: pd.Timedelta | None) -> pd.Timestamp:
    return begin if offset is None else begin.tz_localize(timezone(offset.to_pytimedelta()))


def read_power(
    file: TimedFile,
    columns: Sequence[str],
    unit: PowerUnit,
    slot_minutes: int,
    start: pd.Timestamp | None,
    days: int | None,
    place: str | None = None,
) -> tuple[pd.Timestamp, NDArray[np.float64]]:
    """Return first day and kW [T, C]; energy in a step becomes its mean power.

    Arguments and errors as for `read_slots`, and DataError for negative power.
    """
    energy = unit.endswith("Wh")
    begin, values = read_slots(file, columns, slot_minutes, start, days, energy, place)
    values = values * POWER_FACTOR[unit]
    negative = values.min(axis=0) < 0
    if negative.any():
        name = columns[int(np.argmax(negative))]
        raise DataError(
            f"{file.path}: column {name!r} falls to {values.min():.3g} kW; expected consumption "
            "and generation each as numbers of at least 0, not a net load"
        )
    return begin, values


def read_prices(
    file: PriceFile, slot_minutes: int, start: pd.Timestamp, days: int
) -> NDArray[np.float64]:
    """Return prices [T] per kWh; raises DataError where their size hints at another unit."""
    _, values = read_slots(file, [file.column], slot_minutes, start, days)
    prices = values[:, 0] * PRICE_FACTOR[file.unit]
    size, (low, high) = np.abs(prices), file.mean_between
    if not low <= size.mean() < high or size.max() > _SPIKE * high:
        raise DataError(
            f"{file.path}: column {file.column!r} read as {file.unit} comes to {size.mean():.4g} "
            f"per kWh on average and at most {size.max():.4g}; expected a mean of {low:g} to "
            f"{high:g}; set unit to one of {', '.join(get_args(PriceUnit))}, or mean_between where "
            "these prices are right"
        )
    return prices
