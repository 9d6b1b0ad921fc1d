"""Appliances within the metered load of homes: the part of it that may run later, once a day."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Runs(NamedTuple):
    """Runs of an appliance in every home, one a day.

    Attributes:
        power_kw: [T, H] that they drew.
        begin: [days, H] their first slots.
        energy_kwh: [days, H].
    """

    power_kw: Floats
    begin: Ints
    energy_kwh: Floats


def appliance_runs(
    load_kw: Floats, most_kw: float, run_slots: int, between: tuple[int, int], slot_minutes: int
) -> Runs:
    """Return the runs of an appliance that are part of the homes' load.

    It ran where a home's load lay highest above the day's median for so long, and drew what lay
    above that, up to its rated power.

    Args:
        load_kw: [T, H] in whole days.
        most_kw: rated power of the appliance.
        run_slots: that a run takes.
        between: slots of the day from which a run may begin, and by which it has ended.
        slot_minutes: of the data.
    """
    first, end = between
    day = 24 * 60 // slot_minutes
    days = load_kw.reshape(-1, day, load_kw.shape[1])
    above = (days - np.median(days, axis=1, keepdims=True)).clip(0, most_kw)
    total = np.concatenate([np.zeros_like(above[:, :1]), above.cumsum(1, dtype=np.float64)], 1)
    drawn = total[:, first + run_slots : end + 1] - total[:, first : end + 1 - run_slots]
    begin = first + drawn.argmax(1)
    slot = np.arange(day)[:, None]
    runs = (slot >= begin[:, None]) & (slot < begin[:, None] + run_slots)
    power = np.asarray(above * runs, np.float32)
    energy = power.sum(1, dtype=np.float64) * (slot_minutes / 60)
    return Runs(
        power_kw=power.reshape(load_kw.shape),
        begin=begin + np.arange(len(days))[:, None] * day,
        energy_kwh=np.asarray(energy, np.float32),
    )
