"""Ledger panel: the last block with the seats' orders in it, and those of the intervals before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from gridbazaar.envs.rendering.snapshot import Snapshot
from gridbazaar.envs.rendering.stage import Stage
from gridbazaar.palette import BLUE, FAINT, GREY, INK, RED

_BEFORE = 3  # earlier blocks that are drawn
_GAP, _SMALL = 5.0, 9.0  # points, between blocks and of a small one


def draw_chain(
    axes: Any, stage: Stage, seen: Sequence[Snapshot], width: float, height: float
) -> Sequence[tuple[str, str]]:
    """Draw the chain up to the last interval; return the panel's title.

    Args:
        axes: to draw on.
        stage: of the task.
        seen: the day's intervals so far.
        width, height: of the axes in points.
    """
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    now, middle = seen[-1], height / 2
    side = min(height, 0.31 * width)
    left = _BEFORE * (_SMALL + _GAP)
    axes.plot([0, left], [middle] * 2, color=GREY, lw=1, zorder=1)
    for back, other in enumerate(reversed(seen[-1 - _BEFORE : -1])):
        x = left - (back + 1) * (_SMALL + _GAP)
        _small_block(axes, other, x, middle)
    _block(axes, now, left, middle - side / 2, side)
    axes.text(
        left + side + 7,
        middle,
        "\n".join(_words(stage, now)),
        va="center",
        color=RED if now.reverted else INK,
        linespacing=1.4,
    )
    return (
        ("Last block:", INK),
        ("in time", BLUE),
        ("late", RED),
        ("waiting", INK),
    )


def _small_block(axes: Any, other: Snapshot, x: float, middle: float) -> None:
    """Draw an earlier block, filled by the share of what was sent that came in time."""
    sent = max(int(other.sent.sum()), 1)
    share = float(other.included.sum()) / sent
    corner = (x, middle - _SMALL / 2)
    axes.add_patch(Rectangle(corner, _SMALL, _SMALL, fc="white", ec=INK, lw=0.8, zorder=2))
    full = Rectangle((x, middle + _SMALL / 2 - share * _SMALL), _SMALL, share * _SMALL)
    full.set(facecolor=BLUE, alpha=0.55, edgecolor="none", zorder=3)
    axes.add_patch(full)
    if other.reverted:
        ends = [x, x + _SMALL], [middle - _SMALL / 2, middle + _SMALL / 2]
        axes.plot(*ends, color=RED, lw=1.6, zorder=4)


def _block(axes: Any, now: Snapshot, left: float, top: float, side: float) -> None:
    """Draw the last block, a dot for each seat: in time, late, waiting, or nothing sent."""
    edge = RED if now.reverted else INK
    box = FancyBboxPatch(
        (left, top), side, side, boxstyle="round,pad=0,rounding_size=3", fc="white", ec=edge
    )
    box.set(linewidth=1.2, zorder=2)
    axes.add_patch(box)
    seats = len(now.sent)
    across = max(int(np.ceil(np.sqrt(seats))), 3)
    pitch = side / (across + 0.6)
    at = np.arange(seats)
    x = left + pitch * (0.8 + at % across)
    y = top + pitch * (0.8 + at // across)
    waiting = now.sent & ~now.included & ~now.late
    for mine, face, rim, size in (
        (~now.sent, FAINT, FAINT, 0.14),
        (now.included, BLUE, BLUE, 0.36),
        (now.late, RED, RED, 0.36),
        (waiting, "white", INK, 0.34),
    ):
        dots = [Circle(place, size * pitch) for place in zip(x[mine], y[mine], strict=True)]
        axes.add_collection(PatchCollection(dots, fc=face, ec=rim, lw=0.7, zorder=3))


def _words(stage: Stage, now: Snapshot) -> list[str]:
    """Return what stands beside the block."""
    lines = [f"{int(now.included.sum())} of {int(now.sent.sum())} in time"]
    if np.isfinite(now.block_s):
        before = stage.gate_closure_s - now.block_s
        lines.append(f"{before:,.0f} s before the gate")
    lines.append("lost in a fork" if now.reverted else f"final after {_span(now.finality_s)}")
    lines.append(f"fee {now.base_fee:.2g} {stage.currency}")
    lines.append(f"{now.backlog:,} waiting")
    return lines


def _span(seconds: float) -> str:
    if not np.isfinite(seconds):
        return "never"
    return f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"
