"""Plan of a feeder: where a drawing has its nodes, what connects them, and who sits where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order

from gridbazaar.envs.grid.network import Network
from gridbazaar.envs.simulation import Simulation


@dataclass(frozen=True)
class FeederPlan:
    """A feeder as a tree from its source, in units without meaning.

    Attributes:
        x: [n] of each node, its steps from the source.
        y: [n] across, so that no branch crosses another.
        branches: [m, 2] nodes that a line or transformer connects.
        bus_node: [nbus] node of each bus whose voltage is known.
        seat_node: [N] node of each seat.
        order_seat: [M] seat of each place in the book.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    branches: NDArray[np.int64]
    bus_node: NDArray[np.int64]
    seat_node: NDArray[np.int64]
    order_seat: NDArray[np.int64]

    @classmethod
    def of(cls, simulation: Simulation) -> FeederPlan:
        """Take the plan of a simulation's feeder."""
        c = simulation.community
        known = simulation.delivery.grid_context(c.bus_p_kw[:0], c.bus_q_kvar[:0])
        network = known.solver.network
        bus = np.asarray(known.solver.injection_buses)[c.bus.cpu().numpy()]
        x, y = positions(network)
        return cls(
            x=x,
            y=y,
            branches=branches(network.ybus),
            bus_node=network.bus_node,
            seat_node=network.nodes_of(bus),
            order_seat=simulation.order_slots.owners.seat.cpu().numpy(),
        )


def branches(ybus: sparse.csc_matrix) -> NDArray[np.int64]:
    """Return the pairs of nodes [m, 2] that an admittance connects."""
    upper = sparse.triu(ybus, k=1).tocoo()
    there = upper.data != 0
    return np.stack([upper.row[there], upper.col[there]], -1).astype(np.int64)


def positions(network: Network) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where nodes are drawn: x by steps from the source, y by the leaves below them.

    A leaf takes the next free row, a node between stands amid its children; of a meshed feeder the
    tree is the one found breadth first.
    """
    n = network.ybus.shape[0]
    order, parent = breadth_first_order(
        abs(network.ybus) > 0, int(network.slack_nodes[0]), directed=False
    )
    x, y = np.zeros(n), np.zeros(n)
    children: dict[int, list[int]] = {}
    for node in order[1:]:
        x[node] = x[parent[node]] + 1
        children.setdefault(int(parent[node]), []).append(int(node))
    rows = iter(range(n))
    for node in _depth_first(int(order[0]), children):
        mine = children.get(node)
        y[node] = np.mean([y[child] for child in mine]) if mine else next(rows)
    return x, y


def _depth_first(root: int, children: dict[int, list[int]]) -> list[int]:
    """Return all nodes, every one after its children; those of a branch together."""
    found, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += children.get(node, [])
    return found[::-1]
