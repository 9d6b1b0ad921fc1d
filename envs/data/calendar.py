"""Days split into train, validation and test by whole weeks, never by chance."""

from __future__ import annotations

from typing import Literal, get_args

import pandas as pd
import torch

from gridbazaar.errors import UnknownNameError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[str, ...] = get_args(Split)


def split_of_week(week: int) -> Split:
    """Return the split of a calendar week: every fourth is test, one in eight is validation."""
    if week % 4 == 3:
        return "test"
    return "validation" if week % 8 == 1 else "train"


def first_day(split: str, start: pd.Timestamp) -> int:
    """Return the first day that belongs to a split, counted from day 0 at `start`."""
    return next(d for d in range(1, 9 * 7) if split_of_week((d + start.weekday()) // 7) == split)


def days(split: str, start: pd.Timestamp, num_days: int) -> torch.Tensor:
    """Return the indices [n] (int64, ascending) of the days that belong to `split`.

    Day 0 is the day of `start`; weeks begin on Monday, the first, perhaps partial, is week 0. Day 0
    belongs to no split: a forecast from yesterday needs a yesterday. Raises UnknownNameError for an
    unknown split.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    chosen = [d for d in range(1, num_days) if split_of_week((d + start.weekday()) // 7) == split]
    return torch.tensor(chosen, dtype=torch.int64)
