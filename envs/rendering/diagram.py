"""Single-line diagram of a feeder: a place for every node, so that no two branches cross."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.float64]

_HANG = 0.36  # rows between a bus and the end of a service line that hangs from it

_ROOM = 0.5  # rows more below such an end


@dataclass(frozen=True)
class Diagram:
    """Places of nodes in columns and rows, the root at the left of the first row.

    The longest way from a node goes on along its row; shorter ones leave downwards, the last one
    first. An end beside a way that goes on, such as a house at its service line, hangs from its
    bus. Loops are cut where they are farthest from the root: what closes them may cross others.

    Attributes:
        place: [n, 2] column and row of every node; NaN where no branch leads.
        hangs: [n] whether a node hangs from its bus.
        parent: [n] node that each is fed from; -1 at roots and where no branch leads.
        columns: of the whole.
    """

    place: Places
    hangs: NDArray[np.bool_]
    parent: NDArray[np.int64]
    columns: int


def diagram(nodes: int, edges: NDArray[np.int64], roots: NDArray[np.int64]) -> Diagram:
    """Lay out a feeder.

    Args:
        nodes: how many there are, n.
        edges: [E, 2] nodes that a branch connects.
        roots: nodes of the external grids, one below the other.
    """
    parent, order = _tree(nodes, edges, roots)
    children: list[list[int]] = [[] for _ in range(nodes)]
    for node in order:
        if parent[node] >= 0:
            children[parent[node]].append(node)
    height = np.zeros(nodes, np.int64)
    for node in reversed(order):
        height[node] = max((height[child] + 1 for child in children[node]), default=0)
    place, hangs = np.full((nodes, 2), np.nan), np.zeros(nodes, np.bool_)
    below = np.zeros(int(height.max(initial=0)) + 2)  # first free row of each column
    for root in roots.tolist():
        _lay(root, 0, children, height, place, hangs, below)
    return Diagram(place, hangs, parent, int(np.ceil(np.nanmax(place[:, 0]))) + 1)


def _tree(
    nodes: int, edges: NDArray[np.int64], roots: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[int]]:
    """Return each node's parent and the nodes in the order in which they are reached."""
    near: list[set[int]] = [set() for _ in range(nodes)]
    for a, b in edges.tolist():
        near[a].add(b)
        near[b].add(a)
    parent, seen, order = np.full(nodes, -1), set(roots.tolist()), []
    waiting = deque(roots.tolist())
    while waiting:
        node = waiting.popleft()
        order.append(node)
        for other in sorted(near[node] - seen):
            seen.add(other)
            parent[other] = node
            waiting.append(other)
    return parent, order


def _lay(
    node: int,
    column: int,
    children: list[list[int]],
    height: NDArray[np.int64],
    place: Places,
    hangs: NDArray[np.bool_],
    below: NDArray[np.float64],
) -> None:
    """Place a node and all that it feeds; `below` is moved on."""
    row = float(below[column : column + height[node] + 1].max())
    way = [node]
    while children[way[-1]]:
        way.append(max(children[way[-1]], key=lambda child: (height[child], -child)))
    for step, at in enumerate(way):
        place[at] = column + step, row
    below[column : column + len(way)] = row + 1
    for step in reversed(range(len(way) - 1)):
        others = [child for child in children[way[step]] if child != way[step + 1]]
        hanging = [child for child in others if not height[child]]
        leaves = len(others) > len(hanging)
        for k, child in enumerate(hanging):
            # First below, unless a branch leaves there, then above, then further to the right.
            side = 1 if k % 2 == leaves else -1
            place[child] = column + step + 0.3 * (k // 2), row + _HANG * side
            hangs[child] = True
            if side > 0:
                below[column + step] = row + 1 + _ROOM
        for child in sorted(set(others) - set(hanging), key=lambda c: (height[c], c)):
            start = column + step
            # Nothing may lie below the bus, where the branch leaves it.
            reach = slice(start, start + int(height[child]) + 2)
            below[reach] = below[reach].max()
            _lay(child, start + 1, children, height, place, hangs, below)
            below[start] = place[child, 1] + 1
