"""Electrical distance between buses of a feeder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridbazaar.envs.grid.network import Network


def electrical_distance(
    network: Network, buses: Sequence[int] | NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return |Z_ii + Z_jj - Z_ij - Z_ji| between `buses`, [M, M] per unit: zero on one node.

    Klein and Randic (1993), "Resistance distance", Journal of Mathematical Chemistry 12, with the
    impedances of the feeder.
    """
    nodes = network.nodes_of(buses)
    z = network.impedance(nodes)[nodes]
    own = np.diagonal(z)
    return np.abs(own[:, None] + own[None, :] - z - z.T)
