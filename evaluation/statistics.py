"""Statistics over days: means, interquartile means and bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LOW, _HIGH = 2.5, 97.5


@dataclass(frozen=True)
class Summary:
    """A figure over days; NaN where no day has it.

    Attributes:
        mean: over the days.
        iqm: mean of the middle half of the days.
        low, high: 95 % percentile-bootstrap interval of the mean over days.
    """

    mean: float
    iqm: float
    low: float
    high: float


def interquartile_mean(values: Array) -> Array:
    """Return the mean [K] of what is left of [D, K] without its lowest and highest quarter.

    NaN entries are left out. A quarter is rounded down to whole days.
    """
    ordered = np.sort(values, axis=0)
    count = np.isfinite(ordered).sum(0)
    cut = count // 4
    rank = np.arange(len(values))[:, None]
    kept = (rank >= cut) & (rank < count - cut)
    return _ratio(np.where(kept, ordered, 0.0).sum(0), kept.sum(0).astype(float))


class Bootstrap:
    """Resamples days with replacement; the same resamples serve every figure, so they are paired.

    Args:
        days: D.
        resamples: R.
        seed: of the draws.
    """

    def __init__(self, days: int, resamples: int, seed: int):
        if days < 1:
            raise ValueError("a bootstrap needs at least one day, got none")
        even = np.full(days, 1 / days)
        draws = np.random.default_rng(seed).multinomial(days, even, resamples)
        self._counts = draws.astype(np.float64)

    def summaries(self, values: Array) -> list[Summary]:
        """Summarise each column of [D, K]; days without a figure (NaN) are left out."""
        there = np.isfinite(values)
        filled = np.where(there, values, 0.0)
        mean = _ratio(filled.sum(0), there.sum(0).astype(float))
        resampled = _ratio(self._counts @ filled, self._counts @ there.astype(float))
        return self._collect(mean, interquartile_mean(values), resampled)

    def summary(self, values: Array) -> Summary:
        """Summarise one figure [D]."""
        return self.summaries(values[:, None])[0]

    def ratio(self, part: Array, whole: Array) -> Summary:
        """Summarise mean(part) / mean(whole) of two figures [D]; NaN unless mean(whole) > 0.

        A mean of the days' ratios would be ruled by days with next to no whole. The interquartile
        mean is that of the parts over that of the wholes.
        """
        if not whole.mean() > 0:
            return Summary(*[np.nan] * 4)
        both = np.stack([part, whole], -1)
        middle = interquartile_mean(both)
        resampled = self._counts @ both
        return self._collect(
            _ratio(part.sum(keepdims=True), whole.sum(keepdims=True)),
            _ratio(middle[:1], middle[1:]),
            _ratio(resampled[:, :1], resampled[:, 1:]),
        )[0]

    def _collect(self, mean: Array, iqm: Array, resampled: Array) -> list[Summary]:
        columns = []
        for k in range(len(mean)):
            known = resampled[np.isfinite(resampled[:, k]), k]
            low, high = np.percentile(known, [_LOW, _HIGH]) if len(known) else (np.nan, np.nan)
            columns.append(Summary(float(mean[k]), float(iqm[k]), float(low), float(high)))
        return columns


def _ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, NaN where the whole is not positive."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
