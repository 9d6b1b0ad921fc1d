"""Feeder panel: single-line diagram with voltages and flows, and the seats with their charge."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Circle, Rectangle
from numpy.typing import NDArray

from gridbazaar.envs.rendering.snapshot import Snapshot
from gridbazaar.envs.rendering.stage import Stage
from gridbazaar.palette import FAINT, INK, RED, role_colour

Floats = NDArray[np.float64]

# Low voltages violet, high ones green, as ColorBrewer's PRGn, which the colour-blind tell apart.
VOLTAGE = LinearSegmentedColormap.from_list("voltage", ["#762A83", "#C3C6CC", "#1B7837"])
VOLTAGE_RANGE = Normalize(0.95, 1.05, clip=True)
_ARROWS = {(1, 0): ">", (-1, 0): "<", (0, 1): "v", (0, -1): "^"}
_LEAST_LOADING = 1.0  # %; below, rounding may decide which way power flows
_LARGEST, _SMALLEST = 9.0, 2.2  # points, of a seat
# Shares of a row's height for the seats of a bus, without and with buses that hang from rows.
_STACK, _STACK_HANGING = 0.78, 0.58
_ROOM = 0.7  # columns between the external grid and the rest, for a transformer


class Geometry:
    """Places on a panel in points, y downwards: nodes, seats, and the size of a seat.

    Args:
        stage: of the task.
        width, height: of the panel in points.
    """

    def __init__(self, stage: Stage, width: float, height: float):
        place = stage.diagram.place
        hangs = stage.diagram.hangs
        low, high = np.nanmin(place[~hangs, 1]), np.nanmax(place[~hangs, 1])
        lowest = hangs & (place[:, 1] > high)
        cell_w = width / (stage.diagram.columns + 0.4 + _ROOM)
        cell_h = height / (high - low + 1.0 + 0.6 * lowest.any())
        column = place[:, 0] + 0.4 + _ROOM * (place[:, 0] > 0)
        self.node = np.stack([column * cell_w, (place[:, 1] - low + 0.8) * cell_h], -1)
        self.down = hangs & _below_parent(stage)
        tallest = cell_h * (_STACK_HANGING if hangs.any() else _STACK)
        most = int(np.bincount(stage.seat_node).max(initial=1))
        # As large as a stack of some height lets them be; what is left over stands beside it.
        fits = {
            tall: min(tallest / (0.65 + 1.3 * tall), cell_w / (1.78 * -(-most // tall)), _LARGEST)
            for tall in range(1, 5)
        }
        tall = max(fits, key=lambda height: fits[height])
        self.size = max(fits[tall], _SMALLEST)
        self.seat = self._seats(stage, tall)

    def _seats(self, stage: Stage, tall: int) -> Floats:
        """Return the centre of every seat: a stack beside its bus, then a further one."""
        place, count = np.zeros((len(stage.seats), 2)), np.zeros(len(self.node), np.int64)
        for seat, node in enumerate(stage.seat_node.tolist()):
            column, level = divmod(int(count[node]), tall)
            away = (1.35 + 1.3 * level) * self.size * (1 if self.down[node] else -1)
            place[seat] = self.node[node] + (1.7 * self.size * column, away)
            count[node] += 1
        return place


def _below_parent(stage: Stage) -> NDArray[np.bool_]:
    row, parent = stage.diagram.place[:, 1], stage.diagram.parent
    return (parent >= 0) & (row > row[parent])


def draw_feeder(axes: Any, stage: Stage, now: Snapshot | None, width: float, height: float) -> None:
    """Draw the feeder of an interval; without one, as it stands before the first.

    Args:
        axes: to draw on.
        stage: of the task.
        now: the interval.
        width, height: of the axes in points.
    """
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    geometry = Geometry(stage, width, height)
    _branches(axes, stage, now, geometry)
    _buses(axes, stage, now, geometry)
    _grid(axes, stage, now, geometry)
    _seats(axes, stage, now, geometry)
    if now is not None and not now.solved:
        axes.text(width, 0, "the power flow found no solution", color=RED, ha="right", va="top")


def _way(stage: Stage, geometry: Geometry, branch: int) -> tuple[Floats, bool]:
    """Return a branch's way [points, 2] from parent to child, and whether it begins there."""
    one, other = stage.branch_ends[branch]
    parent = stage.diagram.parent
    forward = parent[other] == one
    if not forward and parent[one] != other:  # closes a loop
        return geometry.node[[one, other]], True
    start, end = geometry.node[[one, other] if forward else [other, one]]
    corner = np.array([start[0], end[1]])
    elbow = start[1] != end[1] and not stage.diagram.hangs[[one, other]].any()
    return np.stack([start, corner, end] if elbow else [start, end]), bool(forward)


def _branches(axes: Any, stage: Stage, now: Snapshot | None, geometry: Geometry) -> None:
    live = np.flatnonzero(stage.branch_ends[:, 0] >= 0).tolist()
    ways = {branch: _way(stage, geometry, branch) for branch in live}
    thin = min(1.0, geometry.size / 6)
    if now is None or not now.solved:
        lines = LineCollection([way for way, _ in ways.values()], colors=FAINT, linewidths=1.5)
        axes.add_collection(lines)
    else:
        loading = now.loading_percent[live].clip(0, 130)
        ends = np.nanmean(now.voltage_pu[stage.branch_ends[live]], axis=1)
        widths = (1.2 + 0.045 * loading) * max(thin, 0.6)
        over = [ways[branch][0] for branch in live if now.bad_branches[branch]]
        halo = (1.2 + 0.045 * 130) * max(thin, 0.6) + 3
        axes.add_collection(LineCollection(over, colors=RED, linewidths=halo, alpha=0.9))
        axes.add_collection(
            LineCollection(
                [ways[branch][0] for branch in live],
                colors=VOLTAGE(VOLTAGE_RANGE(ends)),
                linewidths=widths,
                capstyle="round",
            )
        )
        _arrows(axes, stage, now, ways, thin)
    for branch in live:
        if stage.trafo[branch]:
            _trafo(axes, ways[branch][0], max(geometry.size * 0.5, 3.2))


def _arrows(
    axes: Any, stage: Stage, now: Snapshot, ways: dict[int, tuple[Floats, bool]], thin: float
) -> None:
    """Draw which way power flows, on the last straight piece of every line."""
    groups: dict[str, list[tuple[float, float, float]]] = {}
    for branch, (way, forward) in ways.items():
        sign = now.direction[branch] * (1 if forward else -1)
        if stage.trafo[branch] or now.loading_percent[branch] < _LEAST_LOADING or sign == 0:
            continue
        start, end = way[-2:]
        step = (end - start) * sign
        along = int(np.abs(step).argmax())
        way_to = [0, 0]
        way_to[along] = 1 if step[along] > 0 else -1
        size = 10 + 0.4 * min(now.loading_percent[branch], 100)
        middle = (start + end) / 2
        marker = _ARROWS[(way_to[0], way_to[1])]
        groups.setdefault(marker, []).append((middle[0], middle[1], size * thin))
    for marker, found in groups.items():
        x, y, size_of = np.array(found).T
        axes.scatter(x, y, size_of, color=INK, marker=marker, lw=0, zorder=4)


def _trafo(axes: Any, way: Floats, radius: float) -> None:
    """Draw a transformer's two rings in the middle of the way's last piece."""
    start, end = way[-2:]
    middle = (start + end) / 2
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-9)
    for side in (-0.6, 0.6):
        centre = middle + side * radius * along
        axes.add_patch(Circle(tuple(centre), radius, fc="white", ec=INK, lw=1.0, zorder=5))
    for side in (-0.6, 0.6):
        centre = middle + side * radius * along
        axes.add_patch(Circle(tuple(centre), radius, fc="none", ec=INK, lw=1.0, zorder=5))


def _buses(axes: Any, stage: Stage, now: Snapshot | None, geometry: Geometry) -> None:
    nodes = np.unique(stage.node_of_bus)
    nodes = nodes[~np.isnan(stage.diagram.place[nodes, 0])]
    x, y = geometry.node[nodes].T
    size = (0.62 * geometry.size) ** 2
    if now is None or not now.solved:
        axes.scatter(x, y, size, color=FAINT, zorder=3)
        return
    colours = VOLTAGE(VOLTAGE_RANGE(now.voltage_pu[nodes]))
    axes.scatter(x, y, size, color=colours, edgecolor="white", lw=geometry.size / 16, zorder=3)
    bad = now.bad_nodes[nodes]
    axes.scatter(x[bad], y[bad], 3.2 * size, color="none", edgecolor=RED, lw=1.6, zorder=6)


def _grid(axes: Any, stage: Stage, now: Snapshot | None, geometry: Geometry) -> None:
    """Draw the external grids as squares, and what they give or take."""
    side = max(geometry.size, 5.0)
    for node in stage.roots.tolist():
        x, y = geometry.node[node]
        axes.add_patch(
            Rectangle((x - side / 2, y - side / 2), side, side, fc=INK, ec=INK, zorder=5)
        )
    x, y = geometry.node[stage.roots[0]]
    text = "grid"
    if now is not None and now.solved:
        which = "gives" if now.grid_kw >= 0 else "takes"
        text = f"grid {which}\n{abs(now.grid_kw):,.1f} kW"
    rows = stage.diagram.place[stage.diagram.parent == stage.roots[0], 1]
    leaves_down = (rows > stage.diagram.place[stage.roots[0], 1]).any()
    left, (at, va) = max(x - side, 0), (-side, "bottom") if leaves_down else (side, "top")
    axes.text(left, y + at, text, ha="left", va=va, fontsize=7.5, linespacing=1.15)


def _seats(axes: Any, stage: Stage, now: Snapshot | None, geometry: Geometry) -> None:
    """Draw a circle for each seat, filled where it gives, its area by power; and a gauge of charge.

    Its role's colour tells what it is.
    """
    colours = np.array([role_colour(stage.roles[role]) for role in stage.role])
    x, y = geometry.seat.T
    net_kw = np.zeros(len(x)) if now is None else now.net_kw
    share = np.sqrt((np.abs(net_kw) / max(stage.seat_kw.max(), 1e-9)).clip(0, 1))
    area = (geometry.size * (0.7 + 0.3 * share)) ** 2
    gives = net_kw > 0
    faces = np.where(gives, colours, "white")
    ring = min(1.1, geometry.size / 5)
    axes.scatter(x, y, area, c=faces, edgecolors=colours, linewidths=ring, zorder=7)
    charge = np.full(stage.has_device.shape, np.nan) if now is None else now.charge
    _gauges(axes, stage, charge, geometry, colours)


def _gauges(
    axes: Any, stage: Stage, charge: Floats, geometry: Geometry, colours: NDArray[Any]
) -> None:
    """Draw an upright gauge right of each seat for every device that it owns."""
    wide, tall = max(0.34 * geometry.size, 1.2), 1.1 * geometry.size
    frames, fills, fill_colours = [], [], []
    for seat, slot in np.argwhere(stage.has_device).tolist():
        x, y = geometry.seat[seat] + (0.72 * geometry.size + 1.3 * wide * slot, 0.5 * tall)
        frames.append(Rectangle((x, y - tall), wide, tall))
        if not np.isnan(charge[seat, slot]):
            share = float(np.clip(charge[seat, slot], 0, 1))
            fills.append(Rectangle((x, y - share * tall), wide, share * tall))
            fill_colours.append(colours[seat])
    axes.add_collection(PatchCollection(frames, fc="#ECEEF2", ec="none", zorder=7))
    axes.add_collection(PatchCollection(fills, fc=fill_colours, ec="none", zorder=8))


def draw_key(axes: Any, width: float, height: float) -> None:
    """Draw what the colours of the feeder mean, at the right of axes of this size in points."""
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    middle, left, right = height / 2, width - 78, width - 24
    shades = VOLTAGE(np.linspace(0, 1, 48))[None]
    axes.imshow(shades, extent=(left, right, middle + 3, middle - 3), aspect="auto")
    low, high = VOLTAGE_RANGE.vmin, VOLTAGE_RANGE.vmax
    axes.text(left - 3, middle, f"voltage, p.u.: {low:g}", ha="right", va="center_baseline")
    axes.text(right + 3, middle, f"{high:g}", ha="left", va="center_baseline")
