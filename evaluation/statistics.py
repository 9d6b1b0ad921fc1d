"""Statistics over training seeds and days: means, interquartile means and bootstrap intervals.

A figure is an array [..., D, K]: K figures of D days, and before them an axis of training seeds for
each bidder that it is of, two where it is a difference of two. All bidders meet the same days.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

Array = NDArray[np.float64]
_LOW, _HIGH = 2.5, 97.5


@dataclass(frozen=True)
class Summary:
    """A figure over seeds and days; NaN where no day has it.

    Attributes:
        mean: over seeds and days.
        iqm: mean of the middle half of all days of all seeds.
        low, high: 95 % percentile-bootstrap interval of the mean over seeds and days.
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
    """Resamples days and training seeds with replacement, each axis by itself (Owen 2007).

    The same resamples serve every figure, so that they are paired. A single seed or day is what it
    is, and the interval then one over the other axis alone. Few of n resampled have too small a
    spread, by sqrt((n - 1) / n), and tails of the normal where Student's are due: with five, an
    interval of 95 % would cover 83 %. The deviations of seeds, and those of days, are widened by
    what makes up for both; see Hesterberg
    2015, "What Teachers Should Know About the Bootstrap", The American Statistician 69(4), on how
    narrow the bootstrap is. (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1.)

    Args:
        days: D.
        resamples: R.
        seed: of the draws.
        stratum: whose days these are; those of another are drawn independently, seeds alike.
    """

    def __init__(self, days: int, resamples: int, seed: int, stratum: int = 0):
        if days < 1:
            raise ValueError("a bootstrap needs at least one day, got none")
        even = np.full(days, 1 / days)
        key = (seed, stratum) if stratum else seed
        draws = np.random.default_rng(key).multinomial(days, even, resamples)
        self._counts = draws.astype(np.float64)
        self._resamples, self._seed = resamples, seed

    def summaries(self, values: Array) -> list[Summary]:
        """Summarise each figure of [..., D, K]; days without a figure (NaN) are left out."""
        there = np.isfinite(values)
        filled = np.where(there, values, 0.0)
        axes = tuple(range(values.ndim - 1))
        mean = _ratio(filled.sum(axes), there.sum(axes).astype(float))
        middle = interquartile_mean(values.reshape(-1, values.shape[-1]))
        return self._collect(mean, middle, self._ratios(filled, there.astype(float)))

    def summary(self, values: Array) -> Summary:
        """Summarise one figure [..., D]."""
        return self.summaries(values[..., None])[0]

    def means(self, values: Array) -> Array:
        """Return the resampled means [R] of one figure [..., D], every day of which is known."""
        figure = values[..., None]
        return self._ratios(figure, np.ones_like(figure))[:, 0]

    def interquartile_means(self, values: Array) -> Array:
        """Return the resampled interquartile means [R] of one figure [S, D]."""
        pools = [pool[:, None] for pool in self.pools(values)]
        return np.concatenate([interquartile_mean(pool) for pool in pools])

    def pools(self, values: Array) -> Array:
        """Return R resamples [R, S * D] of one figure [S, D], seeds as they are drawn."""
        S, D = values.shape
        days = _drawn(self._counts)
        seeds = _drawn(self._seed_counts(0, S))
        return values[seeds[:, :, None], days[:, None, :]].reshape(self._resamples, S * D)

    def ratio(self, part: Array, whole: Array) -> Summary:
        """Summarise mean(part) / mean(whole) of two figures [..., D]; NaN unless mean(whole) > 0.

        A mean of the days' ratios would be ruled by days with next to no whole. The interquartile
        mean is that of the parts over that of the wholes.
        """
        if not whole.mean() > 0:
            return Summary(*[np.nan] * 4)
        middle = interquartile_mean(np.stack([part, whole], -1).reshape(-1, 2))
        return self._collect(
            _ratio(part.sum().reshape(1), whole.sum().reshape(1)),
            _ratio(middle[:1], middle[1:]),
            self._ratios(part[..., None], whole[..., None]),
        )[0]

    def _ratios(self, part: Array, whole: Array) -> Array:
        """Return the resampled sums of one over the other [R, K], both [..., D, K], widened.

        By how many days depends on those that have a whole.
        """
        seeds = tuple(range(part.ndim - 2))
        daily_part, daily_whole = part.sum(seeds), whole.sum(seeds)
        by_day = _ratio(self._counts @ daily_part, self._counts @ daily_whole)
        drawn = _ratio(self._sums(part), self._sums(whole)) if seeds else by_day
        widening = np.array([_widening(days) for days in (daily_whole != 0).sum(0).tolist()])
        return drawn + (widening - 1) * (by_day - _ratio(daily_part.sum(0), daily_whole.sum(0)))

    def _sums(self, values: Array) -> Array:
        """Return the resampled sums [R, K] of [..., D, K], widened for few seeds."""
        *seeds, D, K = values.shape
        by_day = np.moveaxis(values, -2, 0).reshape(D, -1)
        sums = (self._counts @ by_day).reshape(self._resamples, *seeds, K)
        for axis, size in enumerate(seeds):
            sums = np.einsum("rs,rs...->r...", self._seed_weights(axis, size), sums)
        return sums

    def _seed_counts(self, axis: int, size: int) -> Array:
        """Return how often each seed is drawn [R, S]; the bidders' own are drawn on axis 0."""
        draw = np.random.default_rng((self._seed, axis + 1, size))
        return draw.multinomial(size, np.full(size, 1 / size), self._resamples).astype(np.float64)

    def _seed_weights(self, axis: int, size: int) -> Array:
        """Return what each seed counts for in each resample [R, S], widened for few seeds."""
        return 1 + _widening(size) * (self._seed_counts(axis, size) - 1)

    def _collect(self, mean: Array, iqm: Array, resampled: Array) -> list[Summary]:
        columns = []
        for k in range(len(mean)):
            low, high = interval(resampled[:, k])
            columns.append(Summary(float(mean[k]), float(iqm[k]), low, high))
        return columns


def interval(resampled: Array) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled figures [R]; NaN where there are none."""
    known = resampled[np.isfinite(resampled)]
    low, high = np.percentile(known, [_LOW, _HIGH]) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def apart(low: float | None, high: float | None, least: float = 0.0) -> int:
    """Return on which side of zero an interval lies, -1 or 1; 0 where it includes it.

    Args:
        low: of the interval; None where there is none.
        high: likewise. Without width it is one of a single day, which tells nothing apart.
        least: what lies no further from zero is zero but for rounding.
    """
    if low is None or high is None or not low < high:
        return 0
    return int(low > least) - int(high < -least)


def _widening(count: int) -> float:
    """Return by how much resampled deviations of so few must grow for Student's interval."""
    if count <= 1:
        return 1.0
    student, normal = t.ppf(_HIGH / 100, count - 1), norm.ppf(_HIGH / 100)
    return float(math.sqrt(count / (count - 1)) * student / normal)


def _drawn(counts: Array) -> NDArray[np.int64]:
    """Return the numbers of what was drawn so often, [R, n] of counts [R, n] that sum to n."""
    resamples, size = counts.shape
    numbers = np.tile(np.arange(size), resamples)
    return np.repeat(numbers, counts.astype(np.int64).ravel()).reshape(resamples, size)


def _ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, NaN where the whole is not positive."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
