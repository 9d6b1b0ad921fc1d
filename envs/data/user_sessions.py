"""Charging sessions from a user's file, one row each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gridbazaar.config import Config, Positive
from gridbazaar.envs.data.sessions import Sessions
from gridbazaar.envs.data.time_axis import event_time
from gridbazaar.envs.data.user_files import numbers, pick, read_table
from gridbazaar.errors import DataError


class SessionFile(Config):
    """The columns of a session file; energy in kWh, `max_power_kw` of every charger.

    chargers: those to keep, null keeps all. drop_incomplete: leave out rows with missing cells
    instead of refusing the file.
    """

    path: Path
    time_zone: str | None
    charger: str
    arrival: str
    departure: str
    energy_kwh: str
    chargers: tuple[str, ...] | None
    max_power_kw: Positive
    drop_incomplete: bool


def read_sessions(
    file: SessionFile,
    start: pd.Timestamp,
    num_days: int,
    slot_minutes: int,
) -> Sessions:
    """Return the sessions that lie within the days; chargers have places 0, 1, ... for buses.

    A session holds every slot it touches; where two touch the same slot the earlier keeps it.
    Energy that only this rounding makes too much for the charger is cut to what it can give. Raises
    DataError for missing columns or cells, and, among the rows kept, for departures before
    arrivals, sessions that overlap, and energy above power times duration.
    """
    where = str(file.path)
    table = _complete_rows(file)
    names = _chargers(file, table)
    rows = pd.DataFrame(
        {
            "charger": table[file.charger].astype(str).to_numpy(),
            "arrival": event_time(table[file.arrival], file.time_zone, where),
            "departure": event_time(table[file.departure], file.time_zone, where),
            "energy": numbers(table[[file.energy_kwh]], where)[:, 0],
        }
    )
    end = start + pd.Timedelta(days=num_days)
    inside = (rows.arrival >= start) & (rows.departure <= end)
    rows = rows[rows.charger.isin(names) & inside].copy()
    _check_rows(rows, file)
    rows["number"] = rows.charger.map({name: i for i, name in enumerate(names)})
    rows = rows.sort_values(["number", "arrival"], kind="stable", ignore_index=True)
    return _to_slots(rows, names, file, start, slot_minutes)


def _complete_rows(file: SessionFile) -> pd.DataFrame:
    where = str(file.path)
    wanted = [file.charger, file.arrival, file.departure, file.energy_kwh]
    table = pick(read_table(file.path), wanted, where)
    holes = table.isna().any(axis=1).to_numpy()
    if holes.any() and not file.drop_incomplete:
        raise DataError(
            f"{where}: {int(holes.sum())} sessions with missing cells, first in row "
            f"{int(np.argmax(holes))}; fill them or set drop_incomplete: true"
        )
    return table[~holes].reset_index(drop=True)


def _chargers(file: SessionFile, table: pd.DataFrame) -> tuple[str, ...]:
    there = sorted(set(table[file.charger].astype(str)))
    if file.chargers is None:
        return tuple(there)
    strange = [name for name in file.chargers if name not in there]
    if strange:
        raise DataError(f"{file.path}: no sessions of {strange}; it has {', '.join(there[:20])}")
    return file.chargers


def _check_rows(rows: pd.DataFrame, file: SessionFile) -> None:
    stay = rows.departure.to_numpy() - rows.arrival.to_numpy()
    hours = pd.Series(stay / np.timedelta64(1, "h"), index=rows.index)
    for bad, what in (
        (hours <= 0, "depart in or before the moment of arrival"),
        (rows.energy < 0, "have a negative energy"),
        (rows.energy > file.max_power_kw * hours * 1.001, "hold more than max_power_kw can give"),
    ):
        if bad.any():
            first = rows[bad].iloc[0]
            raise DataError(
                f"{file.path}: {int(bad.sum())} sessions {what}, first: {first.charger} "
                f"{first.arrival} to {first.departure}, {first.energy:.3f} kWh"
            )


def _to_slots(
    rows: pd.DataFrame,
    names: tuple[str, ...],
    file: SessionFile,
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
            f"{file.path}: {int(over.sum())} sessions start before the last one of their charger "
            f"ends, first: {first.charger} {first.arrival}; a charger serves one car at a time"
        )
    for i in np.flatnonzero(same) + 1:  # in order: each may push the next by a slot
        arrival[i] = max(arrival[i], departure[i - 1])
        departure[i] = max(departure[i], arrival[i] + 1)
    most = file.max_power_kw * (departure - arrival) * slot_minutes / 60
    return Sessions(
        charger_names=names,
        charger_bus=np.arange(len(names)),
        max_power_kw=np.full(len(names), file.max_power_kw, np.float32),
        charger=charger,
        arrival=arrival,
        departure=departure,
        energy_kwh=np.minimum(rows.energy.to_numpy(np.float64), most).astype(np.float32),
        slot_minutes=slot_minutes,
    )
