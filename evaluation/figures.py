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


def percent(figure: Mapping[str, Any] | None, unit: str = "", scale: float = 1.0) -> str:
    """Format a figure in % as `spanned` does, with one digit behind the point.

    Args:
        figure: with mean, low and high.
        unit: to stand behind the mean.
        scale: that makes per cent of the figure: 100 for a share.
    """
    if figure is None:
        return "–"
    mean, low, high = (tenths(figure[key], scale) for key in ("mean", "low", "high"))
    said = f"{mean} {unit}".strip()
    return said if low == high else f"{said} ({low} to {high})"


def tenths(value: float | None, scale: float = 1.0) -> str:
    """Write a number, times the scale, with one digit behind the point; see `number`."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(scale * value, 1) + 0.0:.1f}"


def number(value: float | None) -> str:
    """Write a number with three or more significant digits, without a minus before zero."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{round(value, digits) + 0.0:,.{digits}f}"
