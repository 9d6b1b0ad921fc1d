"""Features that follow from data alone, laid out over the slots of the year.

Outlooks are yesterday's meters at the same hours; the forecast of the slot bid for is that of
forecast.py. Neither holds anything metered later than the slot before, but for perfect forecasts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridbazaar.envs.forecast import delayed, window_means
from gridbazaar.envs.observation import OUTLOOK_HOURS, OWN, PUBLIC, Feature

Array = NDArray[Any]


def own_features(
    load_kw: Array,
    pv_kw: Array,
    forecast_load_kw: Array,
    forecast_pv_kw: Array,
    slot_minutes: int,
) -> Array:
    """Return OWN, scaled, [T, N, OWN], from what each seat meters and expects, [T, N] each."""
    per_hour = 60 // slot_minutes
    day = 24 * per_hour
    load_seen, pv_seen = delayed(load_kw, day), delayed(pv_kw, day)
    columns = {
        "forecast_load": forecast_load_kw,
        "forecast_pv": forecast_pv_kw,
        "load_4h": _mean_ahead(load_seen, 4 * per_hour),
        "pv_4h": _mean_ahead(pv_seen, 4 * per_hour),
        "load_left": _left_of_day(load_seen, day) / per_hour,
        "pv_left": _left_of_day(pv_seen, day) / per_hour,
    }
    return _laid_out(columns, OWN)


def public_features(
    start: pd.Timestamp,
    retail: Array,
    feed_in: Array,
    local_charge: Array,
    home_net_kw: Array,
    slot_minutes: int,
) -> Array:
    """Return PUBLIC, scaled, [T, PUBLIC].

    Args:
        start: beginning of the first slot.
        retail: [T] EUR/kWh.
        feed_in: [T] EUR/kWh.
        local_charge: [T] EUR/kWh.
        home_net_kw: [T] net export of all homes, divided by the number of seats.
        slot_minutes: length of a slot.
    """
    per_hour = 60 // slot_minutes
    day = 24 * per_hour
    T = len(retail)
    time = start + pd.to_timedelta(np.arange(T) * slot_minutes, unit="min")
    angle = 2 * np.pi * (np.arange(T) % day) / day
    season = 2 * np.pi * (time.dayofyear.to_numpy() - 1) / 365.25
    seen = delayed(home_net_kw, day)
    columns = {
        "day_sin": np.sin(angle),
        "day_cos": np.cos(angle),
        "year_cos": np.cos(season),
        "weekend": (time.dayofweek.to_numpy() >= 5).astype(float),
        "day_left": 1 - (np.arange(T) % day) / day,
        "retail": retail,
        "feed_in": feed_in,
        "local_charge": local_charge,
        "day_low": np.repeat(feed_in.reshape(-1, day).min(-1), day),
        "day_high": np.repeat(retail.reshape(-1, day).max(-1), day),
        **{f"retail_in_{h}h": _ahead(retail, h * per_hour) for h in OUTLOOK_HOURS},
        "retail_low": _extreme_left_of_day(retail, day, np.minimum),
        "retail_high": _extreme_left_of_day(retail, day, np.maximum),
        "community_net": seen,
        **{f"community_net_{h}h": _mean_ahead(seen, h * per_hour) for h in OUTLOOK_HOURS},
        "community_surplus_left": _left_of_day(np.maximum(seen, 0), day) / per_hour,
    }
    return _laid_out(columns, PUBLIC)


def lowest_of_next_day(price: Array, slot_minutes: int) -> Array:
    """Return the lowest price [T] of the 24 hours that follow each slot."""
    day = 24 * 60 // slot_minutes
    following = np.concatenate([price[1:], np.repeat(price[-1:], day)])
    windows = np.lib.stride_tricks.sliding_window_view(following, day)
    return np.asarray(windows.min(-1)[: len(price)], np.float32)


def _laid_out(columns: dict[str, Array], part: tuple[Feature, ...]) -> Array:
    """Return the columns of a part of the vector in its order, scaled, in single precision.

    Raises ValueError where a column is missing or belongs to another part.
    """
    names = {feature.name for feature in part}
    if columns.keys() != names:
        raise ValueError(f"columns and features differ: {sorted(columns.keys() ^ names)}")
    scaled = [columns[feature.name] * feature.scale for feature in part]
    return np.stack(scaled, -1).astype(np.float32)


def _ahead(values: Array, slots: int) -> Array:
    return np.concatenate([values[slots:], np.repeat(values[-1:], slots, axis=0)])


def _mean_ahead(values: Array, slots: int) -> Array:
    """Mean over this slot and the following, `slots` in all."""
    padded = np.concatenate([values, np.repeat(values[-1:], slots, axis=0)])
    return window_means(padded, slots)[: len(values)]


def _left_of_day(values: Array, day: int) -> Array:
    """Sum from this slot to the end of its day."""
    days = values.reshape(-1, day, *values.shape[1:])
    return np.flip(np.flip(days, 1).cumsum(1, dtype=np.float64), 1).reshape(values.shape)


def _extreme_left_of_day(values: Array, day: int, extreme: np.ufunc) -> Array:
    days = np.flip(values.reshape(-1, day), 1)
    return np.flip(extreme.accumulate(days, axis=1), 1).reshape(-1)
