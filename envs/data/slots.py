"""Rows of a file to slots: their intervals, gaps, whole days, and what a slot holds."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridbazaar.errors import DataError

Stamps = Literal["start", "end"]
Steps = NDArray[np.timedelta64]
_DAY = np.timedelta64(1, "D")
_FEWEST_ROWS = 3


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


def intervals(time: pd.DatetimeIndex, stamps: Stamps, where: str) -> tuple[pd.DatetimeIndex, Steps]:
    """Return beginning and length of each row's interval; raises DataError for a single row.

    Args:
        time: ascending.
        stamps: whether a row's stamp is its interval's start or its end.
        where: the file.
    """
    if len(time) < 2:
        raise DataError(f"{where} has {len(time)} row, expected at least 2")
    steps = np.diff(time.to_numpy())
    if stamps == "end":
        begin = np.append(time.to_numpy()[:1] - steps[:1], time.to_numpy()[:-1])
        return pd.DatetimeIndex(begin), np.append(steps[:1], steps)
    return time, np.append(steps, steps[-1:])


def whole_days(
    first: pd.Timestamp,
    last: pd.Timestamp,
    start: pd.Timestamp | None,
    days: int | None,
    where: str,
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return begin and end of the chosen days, by default all whole days from first to last.

    Raises DataError where the file does not cover them.
    """
    begin = first.ceil("D") if start is None else start.normalize()
    end = last.floor("D") if days is None else begin + pd.Timedelta(days=days)
    if begin < first or end > last or end <= begin:
        raise DataError(
            f"{where} covers {first} to {last}, not the whole days {begin} to {end}; change start "
            "or days"
        )
    return begin, end


def resolutions(time: pd.DatetimeIndex, steps: Steps, where: str) -> list[slice]:
    """Return the runs of rows of one step each; raises DataError at the first gap.

    A file may change its step if it keeps the new one for a day at least; else there is a gap.
    """
    change = np.flatnonzero(steps[1:] != steps[:-1]) + 1
    edges = [0, *change.tolist(), len(steps)]
    runs = [slice(a, b) for a, b in pairwise(edges)]
    if len(runs) == 1:
        return runs
    usual = np.median(steps)
    kept = [
        run for run in runs if run.stop - run.start >= _FEWEST_ROWS and steps[run].sum() >= _DAY
    ]
    known = {steps[run.start] for run in kept} or {usual}
    gaps = [i for i in range(len(steps)) if steps[i] not in known]
    short = [run for run in runs if run not in kept and steps[run.start] in known]
    if gaps:
        i = gaps[0]
        raise DataError(
            f"{where}: {len(gaps)} gaps, first after {time[i]} (next is "
            f"{time[i] + pd.Timedelta(steps[i])}, expected a step of {pd.Timedelta(usual)}); fill "
            "it or choose days without it"
        )
    if len(known) > 1 and short:
        i = min(short, key=lambda run: run.stop - run.start).start
        raise DataError(
            f"{where}: at {time[i]} the step becomes {pd.Timedelta(steps[i])} for less than a day; "
            "bring those rows to one step"
        )
    return runs


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
