"""Dwell times of plugged-in cars by hour of arrival, from published charging sessions.

Percentiles 10, 25, 50, 75, 90 of the connection time in hours, sessions of at most 72 h:
- home: 35,042 sessions in Norwegian residential garages, 2018-2021, Sørensen et al., Data in Brief
  2024, doi 10.1016/j.dib.2024.110883 (its 2021 forerunner: doi 10.1016/j.dib.2021.107105).
- work: 27,391 sessions at Caltech and JPL, 2019-2021, ACN-Data, Lee, Li and Low, e-Energy 2019,
  doi 10.1145/3307772.3328313.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Place = Literal["home", "work"]

PERCENTILES = (10.0, 25.0, 50.0, 75.0, 90.0)
# place: ((first hour of arrival, hours at each percentile), ...)
DWELL_H: dict[Place, tuple[tuple[int, tuple[float, ...]], ...]] = {
    "home": (
        (0, (4.95, 7.07, 10.88, 14.30, 17.80)),
        (6, (1.10, 2.32, 4.75, 7.60, 12.70)),
        (10, (0.93, 1.92, 3.70, 9.98, 24.20)),
        (14, (1.12, 2.40, 14.01, 17.42, 23.22)),
        (17, (1.26, 3.88, 13.21, 16.60, 21.62)),
        (20, (5.77, 9.22, 11.07, 14.38, 18.72)),
    ),
    "work": (
        (0, (4.25, 7.74, 9.59, 10.33, 11.33)),
        (6, (3.84, 6.51, 8.99, 9.81, 10.59)),
        (9, (1.59, 3.49, 6.28, 8.02, 9.29)),
        (12, (1.23, 2.32, 3.59, 4.94, 6.33)),
        (15, (0.71, 1.26, 1.98, 3.10, 5.27)),
    ),
}


def draw_dwell_slots(
    place: Place, hour: NDArray[np.float64], slot_minutes: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return a dwell in slots (at least 1) for a car that would arrive at `hour` [T] of the day.

    Draws a percentile for each slot and interpolates between the published ones; the tails beyond
    the 10th and 90th are cut to them.
    """
    first = np.array([row[0] for row in DWELL_H[place]])
    table = np.array([row[1] for row in DWELL_H[place]])
    block = np.searchsorted(first, hour, side="right") - 1
    percentile = rng.uniform(0, 100, len(hour))
    dwell_h = np.empty(len(hour))
    for b in range(len(table)):
        here = block == b
        dwell_h[here] = np.interp(percentile[here], PERCENTILES, table[b])
    return np.maximum(np.rint(dwell_h * 60 / slot_minutes), 1).astype(np.int64)
