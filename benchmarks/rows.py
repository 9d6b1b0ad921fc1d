"""Rows of a benchmark: a figure, its target, and how both are timed and printed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure and what it should at least be."""

    what: str
    measured: float
    target: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        return self.measured >= self.target


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median time of `repeats` calls, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def print_rows(rows: Iterable[Row]) -> None:
    """Print the table."""
    rows = list(rows)
    width = max(len(row.what) for row in rows)
    print(f"{'what':{width}} {'measured':>12} {'target':>10}  met")
    for row in rows:
        met = "yes" if row.met else "NO"
        print(f"{row.what:{width}} {row.measured:12,.1f} {row.target:10,.0f}  {met:4} {row.unit}")
