"""A user's CSV or Parquet files, read with every doubt turned into a clear error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridbazaar.config import Config
from gridbazaar.envs.data.time_axis import (
    check_order,
    regular_step,
    standard_time,
    to_slots,
    whole_days,
)
from gridbazaar.errors import DataError, nearest

PowerUnit = Literal["kW", "kWh"]
PriceUnit = Literal["per_kwh", "per_mwh", "cent_per_kwh"]
PRICE_FACTOR: dict[PriceUnit, float] = {"per_kwh": 1.0, "per_mwh": 1e-3, "cent_per_kwh": 1e-2}


class TimedFile(Config):
    """A file with a time column.

    time_column: null where a Parquet file has its time stamps as index. time_zone: IANA zone of the
    place; null where the stamps are standard time already. Relative paths start at the folder of
    the call.
    """

    path: Path
    time_column: str | None
    time_zone: str | None


class PriceFile(TimedFile):
    """One column of prices; a price in money of the tariff's currency."""

    column: str
    unit: PriceUnit


def read_table(path: Path) -> pd.DataFrame:
    """Return a CSV or Parquet file as it is; raises DataError for a missing or other file."""
    if not path.is_file():
        raise DataError(f"no file {path} (looked in {path.resolve().parent})")
    if path.suffix == ".csv":
        return pd.read_csv(path)
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    raise DataError(f"{path} ends in {path.suffix!r}; expected .csv or .parquet")


def pick(table: pd.DataFrame, columns: Sequence[str], where: str) -> pd.DataFrame:
    """Return the named columns; raises DataError that lists what is there and the nearest name."""
    there = [str(c) for c in table.columns]
    for name in columns:
        if name not in there:
            raise DataError(f"{where} has no column {name!r}: {nearest(name, there)}")
    return table[list(columns)]


def times(table: pd.DataFrame, file: TimedFile) -> pd.DatetimeIndex:
    """Return the file's time stamps in standard time, row by row."""
    where = str(file.path)
    if file.time_column is None:
        if not isinstance(table.index, pd.DatetimeIndex):
            there = ", ".join(str(c) for c in table.reset_index().columns[:20])
            raise DataError(
                f"{where} has no index of time stamps; set time_column to one of {there}"
            )
        stamps = table.index.to_series()
    else:
        named = table if file.time_column in table.columns else table.reset_index()
        stamps = pick(named, [file.time_column], where)[file.time_column]
    return standard_time(stamps, file.time_zone, where)


def numbers(table: pd.DataFrame, where: str) -> NDArray[np.float64]:
    """Return the columns as float64; raises DataError for text, NaN or infinite cells."""
    for name in table.columns:
        column = table[name]
        if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            raise DataError(
                f"{where}: column {name!r} is not numeric ({column.dtype}, first value "
                f"{column.iloc[0]!r}); expected numbers with a decimal point"
            )
        bad = np.flatnonzero(~np.isfinite(column.to_numpy(np.float64)))
        if len(bad):
            raise DataError(
                f"{where}: column {name!r} has {len(bad)} missing or infinite cells, first at "
                f"{table.index[bad[0]]}; fill them or choose days without them"
            )
    return table.to_numpy(np.float64)


def read_slots(
    file: TimedFile,
    columns: Sequence[str],
    slot_minutes: int,
    start: pd.Timestamp | None,
    days: int | None,
) -> tuple[pd.Timestamp, pd.Timedelta, NDArray[np.float64]]:
    """Return first day, the file's own step, and the columns [T, C] in slots of the chosen days.

    Gaps and missing cells count only within the chosen days. Raises DataError.
    """
    where = str(file.path)
    table = read_table(file.path)
    time = times(table, file)
    check_order(time, where)
    named = table if set(columns) <= set(table.columns) else table.reset_index()
    picked = pick(named, columns, where).set_axis(time, axis=0)
    begin, end = whole_days(time, start, days, where)
    picked = picked[(time >= begin) & (time < end)]
    inside = pd.DatetimeIndex(picked.index)
    step = regular_step(inside, where)
    if inside[0] != begin or inside[-1] + step != end:
        raise DataError(
            f"{where}: gap at the edge of {begin} to {end}: rows run {inside[0]} to {inside[-1]}"
        )
    return begin, step, to_slots(numbers(picked, where), step, slot_minutes, where)


def read_power(
    file: TimedFile,
    columns: Sequence[str],
    unit: PowerUnit,
    slot_minutes: int,
    start: pd.Timestamp | None,
    days: int | None,
) -> tuple[pd.Timestamp, NDArray[np.float64]]:
    """Return first day and kW [T, C]; energy in a step (kWh) becomes its mean power."""
    begin, step, values = read_slots(file, columns, slot_minutes, start, days)
    if unit == "kWh":
        values = values / (step / pd.Timedelta(hours=1))
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
    """Return prices [T] per kWh; raises DataError above 10 per kWh, which hints at the unit."""
    _, _, values = read_slots(file, [file.column], slot_minutes, start, days)
    prices = values[:, 0] * PRICE_FACTOR[file.unit]
    if np.abs(prices).max() > 10:
        raise DataError(
            f"{file.path}: column {file.column!r} reaches {np.abs(prices).max():.4g} per kWh read "
            f"as {file.unit}; set unit to one of {', '.join(PRICE_FACTOR)}"
        )
    return prices
