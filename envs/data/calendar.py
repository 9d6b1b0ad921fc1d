"""Days split into train, validation and test by whole weeks or one after another, not by chance."""

from __future__ import annotations

from typing import Literal, get_args

import pandas as pd
import torch

from gridbazaar.errors import UnknownNameError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
# A yesterday, and a day of each split.
LEAST_DAYS = 1 + len(SPLITS)


def split_of_week(week: int) -> Split:
    """Return the split of a calendar week: every fourth is test, one in eight is validation."""
    if week % 4 == 3:
        return "test"
    return "validation" if week % 8 == 1 else "train"


def days(split: str, start: pd.Timestamp, num_days: int) -> torch.Tensor:
    """Return the indices [n] (int64, ascending) of the days that belong to `split`.

    Day 0 is the day of `start`; weeks begin on Monday, the first, perhaps partial, is week 0. Day 0
    belongs to no split: a forecast from yesterday needs a yesterday. Data that are too short to
    have a week of every split are divided in time: the last quarter is test, the eighth before it
    validation, a day of each at least; fewer than LEAST_DAYS are all train.

    Raises UnknownNameError for an unknown split.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    chosen = _by_week(start, num_days)
    if not all(chosen.values()):
        chosen = _in_time(num_days)
    return torch.tensor(chosen[split], dtype=torch.int64)


def _by_week(start: pd.Timestamp, num_days: int) -> dict[str, list[int]]:
    chosen: dict[str, list[int]] = {split: [] for split in SPLITS}
    for day in range(1, num_days):
        chosen[split_of_week((day + start.weekday()) // 7)].append(day)
    return chosen


def _in_time(num_days: int) -> dict[str, list[int]]:
    known = list(range(1, num_days))
    if num_days < LEAST_DAYS:
        return {"train": known, "validation": [], "test": []}
    test = len(known) - max(1, round(len(known) / 4))
    validation = test - max(1, round(len(known) / 8))
    return {"train": known[:validation], "validation": known[validation:test], "test": known[test:]}
