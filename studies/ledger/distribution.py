"""Histogram of waits, so that a billion of them take no more room than ten."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Bins from a millisecond on, so many to the power of ten: quantiles are right to 0.12 %.
_LEAST_S, _PER_DECADE, _DECADES = 1e-3, 2000, 10


class Distribution:
    """Times in s, added batch by batch; their mean is exact, quantiles are right to 0.12 %.

    Times below a millisecond count as 0, those above 10 million seconds as that.
    """

    def __init__(self) -> None:
        self._bins = torch.zeros(_PER_DECADE * _DECADES + 1, dtype=torch.int64)
        self._total = 0.0

    def add(self, times_s: Tensor) -> None:
        """Add times of any shape; they must be finite and not negative."""
        times_s = times_s.detach().flatten().double()
        self._total += float(times_s.sum())
        decades = (times_s.clamp(min=_LEAST_S / 10) / _LEAST_S).log10_()
        index = (decades * _PER_DECADE).floor_().add_(1).clamp_(0, len(self._bins) - 1).long()
        self._bins += torch.bincount(index.cpu(), minlength=len(self._bins))

    @property
    def count(self) -> int:
        """How many times were added."""
        return int(self._bins.sum())

    @property
    def mean(self) -> float:
        """Mean in s; nan where nothing was added."""
        return self._total / self.count if self.count else math.nan

    def quantile(self, share: float) -> float:
        """Return the time in s that this share of all does not exceed; nan without any."""
        if not self.count:
            return math.nan
        place = int(torch.searchsorted(self._bins.cumsum(0), max(1, math.ceil(share * self.count))))
        return self._middle_s(place)

    def curve(self) -> tuple[list[float], list[float]]:
        """Return times in s and the share of all that do not exceed them, both rising."""
        filled = self._bins.nonzero().squeeze(1)
        shares = self._bins[filled].cumsum(0).double() / max(self.count, 1)
        return [self._middle_s(place) for place in filled.tolist()], shares.tolist()

    @staticmethod
    def _middle_s(place: int) -> float:
        return 0.0 if place == 0 else _LEAST_S * 10 ** ((place - 0.5) / _PER_DECADE)
