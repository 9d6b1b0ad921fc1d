"""Charging sessions from a user's file, one row each."""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from gridbazaar.config import Positive
from gridbazaar.envs.data.sessions import Sessions
from gridbazaar.envs.data.tables import TableFile, numbers, pick, read_table
from gridbazaar.envs.data.time_axis import event_time
from gridbazaar.envs.data.user_files import POWER_FACTOR
from gridbazaar.errors import DataError

_log = logging.getLogger(__name__)


class SessionFile(TableFile):
    """The columns of a session file."""

    charger: str = Field(description="column with the charger's name")
    arrival: str = Field(description="column with the time of arrival")
    departure: str = Field(description="column with the time of departure")
    energy_kwh: str = Field(description="column with the energy charged")
    energy_unit: Literal["kWh", "Wh", "MWh"] = Field(default="kWh", description="of that column")
    chargers: tuple[str, ...] | None = Field(description="names of those to keep; null: all")
    max_power_kw: Positive | dict[str, Positive] = Field(
        description="of every charger, or by its name",
        json_schema_extra={"unit": "kW"},
    )
    drop_incomplete: bool = Field(
        description="whether rows with missing cells are left out, or the file refused",
    )


def read_sessions(
    file: SessionFile,
    start: pd.Timestamp,
    num_days: int,
    slot_minutes: int,
) -> Sessions:
    """Return the sessions that lie within the days; chargers have places 0, 1, ... for buses.

    A session holds every slot it touches; where two touch the same slot the earlier keeps it.
    Energy that only this rounding makes too much for the charger is cut to what it can give. What
    is left out is logged with its count.

    Args:
        file: which.
        start: first day; its offset from UTC, where it has one, is the axis's.
        num_days: how many.
        slot_minutes: length of a slot.

    Raises:
        DataError: missing columns or cells, ratings of other chargers, no session left, and, among
            those kept, departures before arrivals, sessions that overlap, and energy above power
            times duration.
    """
    where = str(file.path)
    offset = None if start.tz is None else pd.Timedelta(start.utcoffset() or pd.Timedelta(0))
    start = start.tz_localize(None)
    table = _complete_rows(file)
    names = _chargers(file, table)
    rows = pd.DataFrame(
        {
            "charger": table[file.charger].astype(str).to_numpy(),
            **{
                what: event_time(table[column], file.time_zone, where, offset, file.time_format)
                for what, column in (("arrival", file.arrival), ("departure", file.departure))
            },
            "energy": numbers(table[[file.energy_kwh]], file)[:, 0],
        }
    )
    rows["energy"] *= POWER_FACTOR[file.energy_unit]
    rows = _within(rows[rows.charger.isin(names)], start, num_days, where)
    power = np.array(_ratings(file, names))
    rows["number"] = rows.charger.map({name: i for i, name in enumerate(names)})
    _check_rows(rows, power, where)
    rows = rows.sort_values(["number", "arrival"], kind="stable", ignore_index=True)
    return _to_slots(rows, names, power, where, start, slot_minutes)


def _complete_rows(file: SessionFile) -> pd.DataFrame:
    where = str(file.path)
    wanted = [file.charger, file.arrival, file.departure, file.energy_kwh]
    table = pick(read_table(file, (file.charger,)), wanted, where)
    holes = table.isna().any(axis=1).to_numpy()
    if holes.any() and not file.drop_incomplete:
        raise DataError(
            f"{where}: {int(holes.sum())} sessions with missing cells, first in row "
            f"{int(np.argmax(holes))}; fill them or set drop_incomplete: true"
        )
    if holes.all():
        raise DataError(f"{where}: all {len(table)} sessions have missing cells; fill them")
    if holes.any():
        _log.warning("%s: %d sessions with missing cells left out", where, holes.sum())
    return table[~holes].reset_index(drop=True)


def _chargers(file: SessionFile, table: pd.DataFrame) -> tuple[str, ...]:
    there = sorted(set(table[file.charger].astype(str)))
    if file.chargers is None:
        return tuple(there)
    strange = [name for name in file.chargers if name not in there]
    if strange or not file.chargers:
        raise DataError(f"{file.path}: no sessions of {strange}; it has {', '.join(there[:20])}")
    return file.chargers


def _ratings(file: SessionFile, names: tuple[str, ...]) -> list[float]:
    """Return the rated power of each charger in kW."""
    given = file.max_power_kw
    if not isinstance(given, dict):
        return [given] * len(names)
    if set(given) != set(names):
        raise DataError(
            f"{file.path}: max_power_kw names {', '.join(given) or 'nobody'}; expected each of the "
            f"chargers {', '.join(names[:20])}, or one number for all"
        )
    return [given[name] for name in names]


def _within(rows: pd.DataFrame, start: pd.Timestamp, num_days: int, where: str) -> pd.DataFrame:
    """Return the sessions that lie in the chosen days as a whole."""
    end = start + pd.Timedelta(days=num_days)
    kept = rows[(rows.arrival >= start) & (rows.departure <= end)].copy()
    if kept.empty:
        raise DataError(
            f"{where}: none of {len(rows)} sessions, {rows.arrival.min()} to "
            f"{rows.departure.max()}, lies within the chosen days {start} to {end}; change start "
            "or days, or check time_zone and time_format"
        )
    if len(kept) < len(rows):
        _log.warning(
            "%s: %d of %d sessions left out that reach beyond the days %s to %s",
            where,
            len(rows) - len(kept),
            len(rows),
            start.date(),
            end.date(),
        )
    return kept


def _check_rows(rows: pd.DataFrame, power_kw: NDArray[np.float64], where: str) -> None:
    stay = rows.departure.to_numpy() - rows.arrival.to_numpy()
    hours = pd.Series(stay / np.timedelta64(1, "h"), index=rows.index)
    for bad, what in (
        (hours <= 0, "depart in or before the moment of arrival"),
        (rows.energy < 0, "have a negative energy"),
        (
            rows.energy > power_kw[rows.number] * hours * 1.001,
            "hold more than max_power_kw can give",
        ),
    ):
        if bad.any():
            first = rows[bad].iloc[0]
            raise DataError(
                f"{where}: {int(bad.sum())} sessions {what}, first: {first.charger} "
                f"{first.arrival} to {first.departure}, {first.energy:.3f} kWh"
            )


def _to_slots(
    rows: pd.DataFrame,
    names: tuple[str, ...],
    power_kw: NDArray[np.float64],
    where: str,
    start: pd.Timestamp,
    slot_minutes: int,
) -> Sessions:
    slot, zero = np.timedelta64(slot_minutes, "m"), start.to_datetime64()
    charger = rows.number.to_numpy(np.int64)
    arrival = np.floor((rows.arrival.to_numpy() - zero) / slot).astype(np.int64)
    departure = np.ceil((rows.departure.to_numpy() - zero) / slot).astype(np.int64)
    same = charger[1:] == charger[:-1]
    over = same & (rows.arrival.to_numpy()[1:] < rows.departure.to_numpy()[:-1])
    if over.any():
        first = rows.iloc[int(np.argmax(over)) + 1]
        raise DataError(
            f"{where}: {int(over.sum())} sessions start before the last one of their charger "
            f"ends, first: {first.charger} {first.arrival}; a charger serves one car at a time"
        )
    for i in np.flatnonzero(same) + 1:  # in order: each may push the next by a slot
        arrival[i] = max(arrival[i], departure[i - 1])
        departure[i] = max(departure[i], arrival[i] + 1)
    most = power_kw[charger] * (departure - arrival) * slot_minutes / 60
    return Sessions(
        charger_names=names,
        charger_bus=np.arange(len(names)),
        max_power_kw=power_kw.astype(np.float32),
        charger=charger,
        arrival=arrival,
        departure=departure,
        energy_kwh=np.minimum(rows.energy.to_numpy(np.float64), most).astype(np.float32),
        slot_minutes=slot_minutes,
    )
