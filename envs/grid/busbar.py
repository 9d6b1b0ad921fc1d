"""Busbar of a feeder, the bus whose transformer feeds the homes, and the end farthest from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import networkx
import numpy as np
import pandapower.topology
from numpy.typing import NDArray

from gridbazaar.envs.grid.distance import electrical_distance
from gridbazaar.envs.grid.network import Network
from gridbazaar.errors import NetworkError


def busbar(net: Any, homes: Iterable[int]) -> int:
    """Return the pandapower bus where the transformer that feeds most of the homes' buses ends.

    It is the external grid's bus where no transformer lies between. Raises NetworkError where
    neither reaches a home.
    """
    graph = pandapower.topology.create_nxgraph(net, include_trafos=False, include_trafo3ws=False)
    part = {
        bus: number
        for number, buses in enumerate(networkx.connected_components(graph))
        for bus in buses
    }
    at_home = [part.get(int(bus)) for bus in homes]
    trafos, grids = net.trafo[net.trafo.in_service], net.ext_grid[net.ext_grid.in_service]
    for buses in (trafos.lv_bus.tolist(), grids.bus.tolist()):
        fed = [at_home.count(part[bus]) if bus in part else 0 for bus in buses]
        if any(fed):
            return int(buses[fed.index(max(fed))])
    raise NetworkError(
        f"no transformer and no external grid of {net.name!r} feeds buses "
        f"{sorted(set(homes))[:20]}; close a switch, or seat the homes elsewhere"
    )


def farthest(network: Network, busbar: int, homes: NDArray[np.int64]) -> int:
    """Return which of the homes' pandapower buses is electrically farthest from the busbar."""
    return int(homes[electrical_distance(network, [busbar, *homes])[0, 1:].argmax()])
