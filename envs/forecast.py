"""Forecasts of what a seat will meter in the slot bid for, from what it has metered before."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridbazaar.errors import DataError

Array = NDArray[Any]
Kind = Literal["persistence", "model", "perfect"]

_RIDGE = 1e-6  # of the mean square of what is regressed on: seats whose meters never move


def forecast(kind: Kind, metered_kw: Array, day: int, training: Array, steady: bool) -> Array:
    """Return what each seat expects to meter, [T, N] kW.

    `persistence` is the slot before, `perfect` the slot itself. `model` is a linear regression of
    each seat's own on the two slots before, yesterday's slot and those beside it and, where
    something is always metered, yesterday's mean; by least squares over training days that follow
    one.

    Args:
        kind: as `task.rules.forecast`.
        metered_kw: [T, N].
        day: slots of a day.
        training: bool [T], slots of training days.
        steady: whether something is metered at all hours, as a load is and the sun is not.

    Raises:
        DataError: no training day follows another.
    """
    if kind == "perfect":
        return metered_kw
    if kind == "persistence":
        return delayed(metered_kw, 1)
    lags = [delayed(metered_kw, lag) for lag in (1, 2, day - 1, day, day + 1)]
    if steady:
        before = np.concatenate([np.repeat(metered_kw[:1], day, axis=0), metered_kw])
        lags.append(window_means(before, day)[: len(metered_kw)])
    seen = np.stack(lags, -1).astype(np.float64)
    fit = training & delayed(training, day) & delayed(training, day + 1)
    fit[: day + 1] = False
    if not fit.any():
        raise DataError(
            "task.rules.forecast is model, but the data hold no two training days in a row to fit "
            "it on; give at least two weeks, or set forecast: persistence"
        )
    x, y = seen[fit], metered_kw[fit].astype(np.float64)
    square = np.einsum("tni,tnj->nij", x, x)
    size = np.trace(square, axis1=-2, axis2=-1)[:, None, None] / square.shape[-1]
    size = np.maximum(size, np.finfo(np.float64).tiny)
    square += _RIDGE * size * np.eye(square.shape[-1])
    weights = np.linalg.solve(square, np.einsum("tni,tn->ni", x, y)[..., None])
    expected = np.einsum("tni,ni->tn", seen, weights[..., 0])
    return np.asarray(expected.clip(y.min(0), y.max(0)), metered_kw.dtype)


def delayed(values: Array, slots: int) -> Array:
    """Return what was metered `slots` earlier; the first value stands for what came before it."""
    return np.concatenate([np.repeat(values[:1], slots, axis=0), values[: len(values) - slots]])


def window_means(values: Array, slots: int) -> Array:
    """Return the mean of each so many slots in a row, [T - slots + 1, ...] of [T, ...]."""
    total = values.cumsum(0, dtype=np.float64)
    total = np.concatenate([np.zeros_like(total[:1]), total])
    return np.asarray((total[slots:] - total[:-slots]) / slots)
