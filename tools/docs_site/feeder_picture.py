"""Picture of a feeder with its seats, as SVG text, from buses and branches alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from gridbazaar.envs.rendering.diagram import Diagram, diagram

WIDTH, MARGIN, SEAT = 600.0, 26.0, 5.0
_ROW, _ROW_HANGING = 28.0, 50.0  # with room for the marks between a bus and what hangs from it


@dataclass(frozen=True)
class Feeder:
    """What is drawn.

    Attributes:
        roots: buses of the external grid.
        lines, trafos: pairs of buses; open switches are left out.
        fused: pairs of buses that closed switches join; each pair is drawn as one.
        seats: role and name of the seats at each bus.
        names: of buses, for who points at one.
    """

    roots: Sequence[int]
    lines: Sequence[tuple[int, int]]
    trafos: Sequence[tuple[int, int]]
    fused: Sequence[tuple[int, int]]
    seats: Mapping[int, Sequence[tuple[str, str]]]
    names: Mapping[int, str]


def feeder_svg(feeder: Feeder, colours: Mapping[str, str], title: str) -> str:
    """Return the feeder as a tree from the substation (left), with a mark for each seat.

    A branch that closes a loop is dashed. Marks differ by colour and shape; pointing names one.
    """
    one = _joined(feeder)
    edges = [(one(a), one(b)) for a, b in (*feeder.trafos, *feeder.lines)]
    roots = list(dict.fromkeys(map(one, feeder.roots)))
    number = {bus: k for k, bus in enumerate(dict.fromkeys((*roots, *sum(edges, ()))))}
    plan = diagram(
        len(number),
        np.array([(number[a], number[b]) for a, b in edges], np.int64).reshape(-1, 2),
        np.array([number[root] for root in roots]),
    )
    step = (WIDTH - 2 * MARGIN - 60) / max(plan.columns - 1, 1)
    row = _ROW_HANGING if plan.hangs.any() else _ROW
    x, y = ((plan.place - np.nanmin(plan.place, 0)) * (step, row) + MARGIN).T.tolist()
    at = {bus: (x[k], y[k]) for bus, k in number.items() if not np.isnan(y[k])}
    height = MARGIN + np.nanmax(y) + 2 * SEAT
    branches, loops = _apart(plan, edges, number)
    trafos = {frozenset(map(one, pair)) for pair in feeder.trafos}
    parts = [_branch(at[a], at[b], frozenset((a, b)) in trafos) for a, b in branches]
    parts += [_loop(at[a], at[b]) for a, b in loops if a in at and b in at]
    parts += [_bus(*at[bus], feeder.names.get(bus, str(bus)), bus in roots) for bus in at]
    above = {b for a, b in branches if plan.hangs[number[b]] and at[b][1] < at[a][1]}
    for bus, seats in _by_bus(feeder.seats, one).items():
        parts += _marks(*at[bus], seats, colours, -1 if bus in above else 1)
    body = "\n".join(parts)
    return (
        f'<svg class="feeder" viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">\n{body}\n</svg>\n'
    )


def key_svg(role: str, colour: str) -> str:
    """Return the mark of a role, small enough to stand in a line of text."""
    mark = _mark(7.0, 7.0, role, colour)
    return f'<svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">{mark}</svg>'


def _joined(feeder: Feeder) -> Callable[[int], int]:
    """Return the function from a bus to that which stands for all that it is fused with."""
    parent: dict[int, int] = {}

    def one(bus: int) -> int:
        while bus in parent:
            bus = parent[bus]
        return bus

    for a, b in feeder.fused:
        if one(a) != one(b):
            parent[one(b)] = one(a)
    return one


def _apart(
    plan: Diagram, edges: Sequence[tuple[int, int]], number: Mapping[int, int]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the branches of the tree, from the feeding end, and those that close a loop."""
    tree: dict[tuple[int, int], None] = {}
    loops = []
    for a, b in edges:
        if plan.parent[number[b]] == number[a]:
            tree[a, b] = None
        elif plan.parent[number[a]] == number[b]:
            tree[b, a] = None
        else:
            loops.append((a, b))
    return list(tree), loops


def _by_bus(
    seats: Mapping[int, Sequence[tuple[str, str]]], one: Callable[[int], int]
) -> dict[int, list[tuple[str, str]]]:
    found: dict[int, list[tuple[str, str]]] = {}
    for bus, here in seats.items():
        found.setdefault(one(bus), []).extend(here)
    return found


def _branch(start: tuple[float, float], end: tuple[float, float], trafo: bool) -> str:
    (x, y), (u, v) = start, end
    path = f'<path d="M{x:.1f} {y:.1f}V{v:.1f}H{u:.1f}" fill="none" stroke="currentColor" '
    if not trafo:
        return f'{path}stroke-opacity="0.45" stroke-width="1.5"/>'
    middle = (x + u) / 2
    rings = "".join(
        f'<circle cx="{middle + d:.1f}" cy="{v:.1f}" r="7" fill="none" stroke="currentColor" '
        'stroke-width="1.5"/>'
        for d in (-4, 4)
    )
    return f'{path}stroke-opacity="0.45" stroke-width="2.5"/>{rings}'


def _loop(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (u, v) = start, end
    far = max(x, u) + 30
    return (
        f'<path d="M{x:.1f} {y:.1f}C{far:.1f} {y:.1f} {far:.1f} {v:.1f} {u:.1f} {v:.1f}" '
        'fill="none" stroke="currentColor" stroke-opacity="0.35" stroke-dasharray="4 3"/>'
    )


def _bus(x: float, y: float, name: str, root: bool) -> str:
    if root:
        return (
            f'<rect x="{x - 5:.1f}" y="{y - 10:.1f}" width="6" height="20" fill="currentColor">'
            f"<title>external grid: {escape(name)}</title></rect>"
        )
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="currentColor">'
        f"<title>{escape(name)}</title></circle>"
    )


def _marks(
    x: float, y: float, seats: Sequence[tuple[str, str]], colours: Mapping[str, str], side: int
) -> list[str]:
    return [
        f"<g>{_mark(x + (2 * SEAT + 2) * k, y + side * (SEAT + 5), role, colours[role])}"
        f"<title>{escape(name)}</title></g>"
        for k, (role, name) in enumerate(seats)
    ]


def _mark(x: float, y: float, role: str, colour: str) -> str:
    s = SEAT
    if role == "consumer":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{s - 0.5}" fill="{colour}"/>'
    corners = {
        "prosumer": ((0, -s), (s, s - 1), (-s, s - 1)),
        "storage": (
            (-s + 0.5, -s + 0.5),
            (s - 0.5, -s + 0.5),
            (s - 0.5, s - 0.5),
            (-s + 0.5, s - 0.5),
        ),
        "ev": ((0, -s - 0.5), (s + 0.5, 0), (0, s + 0.5), (-s - 0.5, 0)),
    }.get(role, ((-s, -s + 1), (s, -s + 1), (0, s)))
    points = " ".join(f"{x + u:.1f},{y + v:.1f}" for u, v in corners)
    return f'<polygon points="{points}" fill="{colour}"/>'
