"""Picture of one interval: feeder, book, chain, and the day so far, as one figure of 800 pixels.

Nothing is kept between pictures: the same records give the same picture, to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from gridbazaar.envs.rendering.feeder_panel import draw_feeder, draw_key
from gridbazaar.envs.rendering.ledger_panel import draw_chain
from gridbazaar.envs.rendering.market_panels import Words, draw_book, draw_power, draw_prices
from gridbazaar.envs.rendering.snapshot import Snapshot
from gridbazaar.envs.rendering.stage import Stage
from gridbazaar.palette import GREY, INK, PICTURE, UNDATED, role_colour

SIZE = (800, 560)  # pixels at DPI
DPI = 100
_PER_POINT = DPI / 72
Box = tuple[float, float, float, float]  # left, top, width, height in pixels
_FEEDER: Box = (12, 76, 488, 262)
_KEY: Box = (262, 54, 238, 16)
_CHARGE: Box = (12, 344, 488, 26)
_BOOK: Box = (562, 76, 224, 140)
_CHAIN: Box = (524, 284, 268, 84)
_PRICES: Box = (50, 420, 330, 112)
_POWER: Box = (444, 420, 330, 112)
_FEEDER_WORDS = (("Feeder:", INK), ("●", GREY), ("gives", INK), ("○", GREY), ("takes", INK))
_LEFT, _MIDDLE, _RIGHT = 14, 412, 524  # where titles begin


def draw(figure: Figure, stage: Stage, seen: Sequence[Snapshot]) -> None:
    """Draw the last interval of a day into an empty figure of SIZE.

    Args:
        figure: to draw on.
        stage: of the task.
        seen: the day's intervals so far; none before the first.
    """
    with _style():
        now = seen[-1] if seen else None
        _header(figure, stage, now)
        _title(
            figure,
            _FEEDER,
            _LEFT,
            (("Feeder:", INK), ("●", GREY), ("gives", INK), ("○", GREY), ("takes", INK)),
        )
        draw_key(_axes(figure, _KEY), *_points(_KEY))
        draw_feeder(_axes(figure, _FEEDER), stage, now, *_points(_FEEDER))
        _charge(_axes(figure, _CHARGE), stage, now, *_points(_CHARGE))
        if not seen:
            return
        book, chain = _axes(figure, _BOOK), _axes(figure, _CHAIN)
        _title(figure, _BOOK, _RIGHT, draw_book(book, stage, seen))
        _title(figure, _CHAIN, _RIGHT, draw_chain(chain, stage, seen, *_points(_CHAIN)))
        _title(figure, _PRICES, _LEFT, draw_prices(_axes(figure, _PRICES), stage, seen))
        _title(figure, _POWER, _MIDDLE, draw_power(_axes(figure, _POWER), stage, seen))


def new_figure() -> Figure:
    """Return an empty figure of SIZE."""
    return Figure(figsize=(SIZE[0] / DPI, SIZE[1] / DPI), dpi=DPI, facecolor="white")


def frame(stage: Stage, seen: Sequence[Snapshot]) -> NDArray[np.uint8]:
    """Return the picture as pixels, uint8 [560, 800, 3]."""
    figure = new_figure()
    canvas = FigureCanvasAgg(figure)
    draw(figure, stage, seen)
    with _style():
        canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def save(file: Any, stage: Stage, seen: Sequence[Snapshot], form: str) -> None:
    """Write the picture as `svg`, `pdf` or `png`; a PDF embeds its fonts.

    Args:
        file: path, or an open binary file.
        stage, seen: as for `draw`.
        form: of the file.
    """
    figure = new_figure()
    draw(figure, stage, seen)
    with _style():
        figure.savefig(file, format=form, metadata=UNDATED.get(form))


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(PICTURE):
        yield


def _axes(figure: Figure, box: Box) -> Any:
    left, top, width, height = box
    W, H = SIZE
    return figure.add_axes((left / W, 1 - (top + height) / H, width / W, height / H))


def _points(box: Box) -> tuple[float, float]:
    return box[2] / _PER_POINT, box[3] / _PER_POINT


def _write(figure: Figure, x: float, y: float, words: Words, **font: Any) -> float:
    """Write words of several colours side by side; return where they end, in pixels."""
    for text, colour in words:
        size = font.get("fontsize", matplotlib.rcParams["font.size"])
        figure.text(x / SIZE[0], 1 - y / SIZE[1], text, color=colour, va="baseline", **font)
        x += _width(text, size, font.get("weight", "normal")) + 6
    return x


@lru_cache
def _width(text: str, size: float, weight: str) -> float:
    """Return the width of a text in pixels."""
    path = TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight))
    return float(path.get_extents().width) * _PER_POINT


def _title(figure: Figure, box: Box, left: float, words: Words) -> None:
    (first, colour), *others = words
    x = _write(figure, left, box[1] - 9, [(first, colour)], weight="bold")
    _write(figure, x, box[1] - 9, others, weight="bold")


def _header(figure: Figure, stage: Stage, now: Snapshot | None) -> None:
    clock = "before the day" if now is None else _clock(now.t, stage)
    x = _write(figure, 14, 32, [(clock, INK)], fontsize=15, weight="bold")
    if now is not None:
        x = _write(figure, x + 4, 32, [(f"day {now.day}", GREY)], fontsize=10)
    figure.text(1 - 14 / SIZE[0], 1 - 32 / SIZE[1], stage.title, color=INK, ha="right", fontsize=10)
    line = Rectangle((14 / SIZE[0], 1 - 43 / SIZE[1]), 1 - 28 / SIZE[0], 1 / SIZE[1])
    line.set(facecolor="#D5D9DF", edgecolor="none", transform=figure.transFigure)
    figure.add_artist(line)


def _clock(t: int, stage: Stage) -> str:
    minutes = [(t + k) * stage.slot_minutes for k in (0, 1)]
    return "–".join(f"{at // 60:02d}:{at % 60:02d}" for at in minutes)


def _charge(axes: Any, stage: Stage, now: Snapshot | None, width: float, height: float) -> None:
    """Draw the key: the roles, the mean charge of their devices, and the colours of voltages."""
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    x, middle = 2.0, 0.5 * height
    for number, role in enumerate(stage.roles):
        mine = stage.role == number
        if not mine.any():
            continue
        colour = role_colour(role)
        axes.scatter(x + 4, middle, 34, color=colour, lw=0)
        axes.text(x + 11, middle, role, va="center_baseline")
        x += 15 + _width(role, 8, "normal") / _PER_POINT
        if stage.has_device[mine].any():
            x = _gauge(axes, x, middle, None if now is None else now.charge[mine], colour)
        x += 9


def _gauge(axes: Any, x: float, middle: float, charge: Any, colour: str) -> float:
    known = charge is not None and not np.isnan(charge).all()
    share = float(np.nanmean(charge)) if known else 0.0
    axes.add_patch(Rectangle((x, middle - 3), 24, 6, fc="#ECEEF2", ec="none"))
    axes.add_patch(Rectangle((x, middle - 3), 24 * share, 6, fc=colour, ec="none"))
    text = f"{100 * share:.0f} %" if known else "–"
    axes.text(x + 27, middle, text, va="center_baseline", fontsize=7)
    return x + 46
