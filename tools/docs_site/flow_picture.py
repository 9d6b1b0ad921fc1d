"""Pictures of flow charts, as SVG text, from Mermaid's notation, which GitHub draws itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH = 420.0  # so that letters stay readable on a phone, where it shrinks a little
_LINE, _LETTER, _PAD, _GAP, _RISE = 17.0, 7.7, 8.0, 14.0, 26.0  # px, at 13 px letters
_MARGIN = 34.0  # beside the boxes, for what leads back up

_BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NODE = r'(\w+)(?:\["([^"]+)"\])?'
_ARROW = re.compile(r'\s*--(?: "([^"]+)" --)?>\s*')


class Arrow(NamedTuple):
    """From one box to another, by their names, with a word beside it or none."""

    start: str
    end: str
    word: str


class Chart(NamedTuple):
    """Boxes, name -> lines of text, in the order in which they are first named, and arrows."""

    boxes: Mapping[str, Sequence[str]]
    arrows: Sequence[Arrow]


class _Place(NamedTuple):
    x: float  # of the middle
    top: float
    width: float
    lines: Sequence[tuple[str, int]]  # text and weight

    @property
    def bottom(self) -> float:
        return self.top + _LINE * len(self.lines) + 2 * _PAD


def with_pictures(markdown: str) -> str:
    """Return a page's text with every Mermaid block drawn.

    Raises:
        ValueError: as `read`.
    """
    return _BLOCK.sub(lambda block: flow_svg(read(block[1])), markdown)


def read(text: str) -> Chart:
    """Return the chart of a Mermaid text of boxes and arrows, top to bottom.

    Raises:
        ValueError: a line is something else; names it.
    """
    head, *lines = (line.strip() for line in text.strip().splitlines())
    if head != "flowchart TB":
        raise ValueError(f"a drawing begins with {head!r}, expected 'flowchart TB'")
    boxes: dict[str, Sequence[str]] = {}
    arrows = []
    for line in filter(None, lines):
        words = [arrow[1] or "" for arrow in _ARROW.finditer(line)]
        nodes = [re.fullmatch(_NODE, part) for part in re.split(_ARROW.pattern, line)[::2]]
        found = [node for node in nodes if node is not None]
        if len(found) < len(nodes):
            raise ValueError(f'a drawing has the line {line!r}, expected a["text"] --> b')
        for name, label in (node.groups() for node in found):
            if label or name not in boxes:
                boxes[name] = (label or name).split("<br/>")
        pairs = zip(found, found[1:], words, strict=False)
        arrows += [Arrow(start[1], end[1], word) for start, end, word in pairs]
    return Chart(boxes, arrows)


def flow_svg(chart: Chart) -> str:
    """Return the chart in rows from the top; an arrow to a row above runs beside the boxes."""
    rows = _rows(chart)
    at: dict[str, _Place] = {}
    top = 1.0
    for row in rows:
        room = (WIDTH - 2 * _MARGIN * (len(row) == 1) - _GAP * (len(row) - 1)) / len(row)
        wrapped = [_wrapped(chart.boxes[name], room) for name in row]
        widths = [max(len(line) for line, _ in lines) * _LETTER + 2 * _PAD for lines in wrapped]
        x = (WIDTH - sum(widths) - _GAP * (len(row) - 1)) / 2
        for name, lines, width in zip(row, wrapped, widths, strict=True):
            at[name] = _Place(x + width / 2, top, width, lines)
            x += width + _GAP
        top = max(at[name].bottom for name in row) + _RISE
    parts = [_arrow(at[a.start], at[a.end], a.word) for a in chart.arrows]
    parts += [_box(place) for place in at.values()]
    said = "; ".join(f"{chart.boxes[a.start][0]} to {chart.boxes[a.end][0]}" for a in chart.arrows)
    body = "\n".join(parts)
    return (
        f'<svg class="flow" viewBox="0 0 {WIDTH:g} {top - _RISE + 1:g}" role="img" '
        f'aria-label="{escape(said)}" font-size="13" xmlns="http://www.w3.org/2000/svg">\n'
        f"{body}\n</svg>\n"
    )


def _rows(chart: Chart) -> list[list[str]]:
    """Return the boxes by how many arrows lead to them at most, but for those that lead back."""
    order = list(chart.boxes)
    rank = dict.fromkeys(order, 0)
    down = [a for a in chart.arrows if not _leads_back(a, chart)]
    for _ in order:
        for arrow in down:
            rank[arrow.end] = max(rank[arrow.end], rank[arrow.start] + 1)
    return [[n for n in order if rank[n] == row] for row in range(max(rank.values()) + 1)]


def _leads_back(arrow: Arrow, chart: Chart) -> bool:
    """Say whether an arrow closes a circle at the box of it that is named first."""
    order = list(chart.boxes)
    if order.index(arrow.end) > order.index(arrow.start):
        return False
    reached = [arrow.end]
    for name in reached:
        reached += [a.end for a in chart.arrows if a.start == name and a.end not in reached]
    return arrow.start in reached


def _wrapped(lines: Sequence[str], room: float) -> list[tuple[str, int]]:
    """Return the lines of a box, cut to its room, each with its weight: the first is a heading."""
    letters = int((room - 2 * _PAD) / _LETTER)
    return [
        (part, 400 if number else 600)
        for number, line in enumerate(lines)
        for part in textwrap.wrap(line, letters)
    ]


def _box(place: _Place) -> str:
    left, height = place.x - place.width / 2, place.bottom - place.top
    text = "".join(
        f'<text x="{place.x:.1f}" y="{place.top + _PAD + _LINE * (k + 0.75):.1f}" '
        f'text-anchor="middle" font-weight="{weight}">{escape(line)}</text>'
        for k, (line, weight) in enumerate(place.lines)
    )
    return (
        f'<rect x="{left:.1f}" y="{place.top:.1f}" width="{place.width:.1f}" '
        f'height="{height:.1f}" rx="5"/>{text}'
    )


def _arrow(start: _Place, end: _Place, word: str) -> str:
    x, y, u, v = start.x, start.bottom, end.x, end.top
    path = f"M{x:.1f} {y:.1f}L{u:.1f} {v - 1:.1f}"
    if v < y:  # back up, beside the boxes
        y, v = (start.top + y) / 2, (v + end.bottom) / 2
        x, u, far = x + start.width / 2, u + end.width / 2, WIDTH - 6
        path = f"M{x:.1f} {y:.1f}H{far:.1f}V{v:.1f}H{u + 1:.1f}"
        tip = f"M{u + 8:.1f} {v - 4:.1f}L{u + 1:.1f} {v:.1f}l7 4"
    else:
        size = ((u - x) ** 2 + (v - y) ** 2) ** 0.5
        dx, dy = (u - x) / size, (v - y) / size
        a, b = (f"{u - 7 * dx + s * dy:.1f} {v - 1 - 7 * dy - s * dx:.1f}" for s in (4, -4))
        tip = f"M{a}L{u:.1f} {v - 1:.1f}L{b}"
    middle = f'x="{(x + u) / 2:.1f}" y="{(y + v) / 2 + 4:.1f}"'
    text = f'<text class="word" {middle}>{escape(word)}</text>' if word else ""
    return f'<path d="{path}"/><path d="{tip}"/>{text}'
