"""Figures in words: a mean, an interval, a number with the digits that it deserves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def cell(figure: Mapping[str, Any] | None) -> str:
    """Format a mean; an en dash where there is none."""
    return "–" if figure is None else number(figure["mean"])


def interval(figure: Mapping[str, Any] | None) -> str:
    """Format an interval; nothing where it has no width."""
    if figure is None or figure["low"] is None or figure["low"] == figure["high"]:
        return ""
    return f"{number(figure['low'])} to {number(figure['high'])}"


def spanned(figure: Mapping[str, Any] | None, unit: str = "") -> str:
    """Format a mean and its unit with its interval behind them, where it has one of any width."""
    mean, span = f"{cell(figure)} {unit}".strip(), interval(figure)
    return f"{mean} ({span})" if span else mean


def number(value: float | None) -> str:
    """Write a number with three or more significant digits, without a minus before zero."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{round(value, digits) + 0.0:,.{digits}f}"
