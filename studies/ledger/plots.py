"""Plots of a load and of all ledgers side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from gridbazaar.errors import LedgerError
from gridbazaar.palette import BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, SKY, style
from gridbazaar.studies.ledger.load import LoadResult
from gridbazaar.studies.ledger.text import rounded
from gridbazaar.studies.ledger.trilemma import LOAD_PER_S, Profile

_SERIES = (BLUE, ORANGE, GREEN, PINK, SKY, RED, GREY, INK)
_SPREAD = {"low": RED, "medium": ORANGE, "high": GREEN}
_STYLE = {"axes.prop_cycle": cycler(color=list(_SERIES))}
_SECONDS = "seconds"
_FORMATS = (".png", ".svg", ".pdf")


def check_path(path: Path) -> None:
    """Raise `LedgerError` where no plot can be written to `path`."""
    if path.suffix not in _FORMATS:
        raise LedgerError(f"{path} must end with one of {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise LedgerError(f"there is no folder {path.parent}")


def save_load(
    path: Path, title: str, results: Sequence[LoadResult], curve: Sequence[LoadResult]
) -> None:
    """Draw waits against load and how they are distributed; write all or nothing.

    Args:
        path: of the image, see `check_path`.
        title: of the plot.
        results: loads whose distribution is drawn, and the curve's highest.
        curve: loads of the line; none: those of `results`.
    """
    with style(_STYLE):
        drawn, (left, right) = plt.subplots(1, 2, figsize=(11, 4.3), width_ratios=(1.15, 1))
        drawn.suptitle(title, fontweight="bold", x=0.01, ha="left")
        _waits(left, results, sorted(curve, key=lambda r: r.load_per_s))
        extra = [r for r in curve[-1:] if r not in results]
        _distributions(right, [*results, *extra])
        _save(drawn, path)


def _waits(axes: Axes, results: Sequence[LoadResult], curve: Sequence[LoadResult]) -> None:
    shown = [r for r in curve or results if r.included]
    load = [r.load_per_s for r in shown]
    median, late = ([r.latency.quantile(q) for r in shown] for q in (0.5, 0.99))
    axes.fill_between(load, median, late, color=BLUE, alpha=0.13, lw=0)
    style: Any = {"marker": "o", "ms": 4, "lw": 2}
    axes.plot(load, late, color=SKY, label="in a block, 99 of 100", **style)
    axes.plot(load, median, color=BLUE, label="in a block, median", **style)
    final = [r.finality.quantile(0.5) for r in shown]
    axes.plot(load, final, color=GREEN, ls="--", label="final, median", **style)
    capacity = shown[0].capacity_per_s if shown else math.inf
    if capacity < math.inf:
        axes.axvline(capacity, color=RED, lw=1.5)
        axes.annotate(f"blocks are full \nat {rounded(capacity)}/s ", (capacity, 0.97), ha="right",
                      va="top", xycoords=("data", "axes fraction"), color=RED,
                      fontsize=10)  # fmt: skip
    for r in results:
        if curve and r not in curve:
            axes.axvline(r.load_per_s, color=GREY, lw=1, ls=":")
    axes.set_title("Wait against load")
    axes.set_xlabel("transactions per second")
    axes.set_ylabel(_SECONDS)
    if any(value > 0 for value in median):
        axes.set_yscale("log")
        _round_ticks(axes.yaxis)
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.5, high * 5)  # room for the legend
    axes.legend(loc="upper left")


def _distributions(axes: Axes, results: Sequence[LoadResult]) -> None:
    shown = [r for r in results if r.included]
    for colour, r in zip(_SERIES * len(shown), shown, strict=False):
        times, shares = r.latency.curve()
        axes.plot([0, *times], [0, *shares], color=colour, lw=2, drawstyle="steps-post",
                  label=f"{rounded(r.load_per_s)} per second")  # fmt: skip
    medians = [r.latency.quantile(0.5) for r in shown]
    longest = max((r.latency.quantile(0.999) for r in shown), default=1.0)
    if shown and max(medians) > 5 * min(medians) > 0:
        axes.set_xscale("log")
        _round_ticks(axes.xaxis)
        axes.set_xlim(min(r.latency.quantile(0.005) for r in shown), longest * 1.05)
    else:
        axes.set_xlim(0, max(longest, 1e-3) * 1.05)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.set_title("Transactions in a block after so long")
    axes.set_xlabel(_SECONDS)
    axes.legend(loc="best")


def save_trilemma(path: Path, found: Sequence[Profile]) -> None:
    """Draw speed, finality, decentralisation and energy of all ledgers; write all or nothing."""
    with style(_STYLE):
        drawn, (left, right) = plt.subplots(1, 2, figsize=(13, 6), width_ratios=(1.5, 1))
        _map(left, found)
        _against_validators(right, found)
        _save(drawn, path)


def _map(axes: Axes, found: Sequence[Profile]) -> None:
    labels: list[tuple[float, float]] = []
    for one in sorted(found, key=lambda one: one.result.finality.quantile(0.5)):
        energy = max(one.result.energy_per_transaction_kwh, 1e-7)
        x, y = one.capacity_per_s, one.result.finality.quantile(0.5)
        size = 20 + 8 * (math.log10(energy) + 7) ** 2
        colour = _SPREAD[one.decentralisation]
        axes.scatter(x, y, s=size, color=colour, alpha=0.75, edgecolor="white", zorder=3)
        at = math.log10(x), math.log10(y)
        close = any(abs(at[0] - u) < 0.4 and abs(at[1] - v) < 0.12 for u, v in labels)
        labels.append(at)
        side = -1 if close else 1
        axes.annotate(_words(one.name), (x, y), xytext=(0, side * (8 + math.sqrt(size) / 2)),
                      textcoords="offset points", ha="center", va="center",
                      fontsize=9)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="transactions per second in full blocks")
    axes.set_ylabel("seconds until final, median (less is better)")
    axes.margins(x=0.12, y=0.1)
    axes.invert_yaxis()
    _round_ticks(axes.xaxis)
    _round_ticks(axes.yaxis)
    axes.set_title("Capacity and finality; large points take much energy")
    for word, colour in _SPREAD.items():
        axes.scatter([], [], s=70, color=colour, label=f"decentralisation {word}")
    axes.legend(loc="lower right")


def _against_validators(axes: Axes, found: Sequence[Profile]) -> None:
    ends = []
    for one in found:
        sizes = {n: size.latency_s for n, size in one.sizes.items() if size}
        times = list(sizes.values())
        if len(times) > 1 and times[-1] > 1.15 * times[0]:
            (line,) = axes.plot(list(sizes), times, marker="o", ms=4, lw=2)
            ends.append((times[-1], one.name, line.get_color()))
    ticks = list(found[0].sizes)
    height = -math.inf
    axes.set(xscale="log", yscale="log")
    for time_s, name, colour in sorted(ends):
        height = max(height + 0.055, math.log10(time_s))
        axes.annotate(_words(name), (ticks[-1], 10**height), xytext=(8, 0), va="center",
                      textcoords="offset points", fontsize=9, color=colour)  # fmt: skip
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    _round_ticks(axes.yaxis)
    axes.set_title(f"Wait for a block at {LOAD_PER_S:g} tx/s")
    axes.set(xlabel="validators", ylabel="seconds, median")
    axes.set_xlim(ticks[0] / 1.3, ticks[-1] * 6)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _round_ticks(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: rounded(value))
    axis.set_minor_formatter(NullFormatter())


def _save(drawn: Figure, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial{path.suffix}")
    drawn.savefig(partial)
    plt.close(drawn)
    os.replace(partial, path)
