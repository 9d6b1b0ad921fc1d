"""Direction of the active power in every branch, from the voltages at the injection buses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from gridbazaar.envs.grid.network import Network


class FlowDirection:
    """Tells which way power flows in the branches of a feeder.

    Where nothing is injected, voltages follow from those of the other nodes by the admittances
    alone, so that those at the injection buses and the external grids tell all others.

    Args:
        network: the feeder.
        buses: [M] pandapower buses of the injections.
    """

    def __init__(self, network: Network, buses: NDArray[np.int64]):
        self._network, self._nodes = network, network.nodes_of(buses)
        known = np.union1d(self._nodes, network.slack_nodes)
        self._rest = np.setdiff1d(np.arange(network.ybus.shape[0]), known)
        self._known = known
        # [rest, known] voltages of the rest per volt of the known; none where all are known.
        self._follow = np.zeros((len(self._rest), len(known)), np.complex128)
        if len(self._rest):
            rows = network.ybus[self._rest]
            towards = rows[:, known].toarray()
            self._follow = -splu(rows[:, self._rest].tocsc()).solve(towards)

    def __call__(self, v: NDArray[np.complex128]) -> NDArray[np.float64]:
        """Return 1 where power enters a branch at its first end, -1 at its second, [nl + nt].

        Args:
            v: [M] complex p.u. at the injections, as `Solution.v` has them.
        """
        network = self._network
        voltage = np.zeros(network.ybus.shape[0], np.complex128)
        voltage[network.slack_nodes] = network.slack_voltage
        voltage[self._nodes] = v
        voltage[self._rest] = self._follow @ voltage[self._known]
        current = np.asarray(network.percent_from @ voltage).ravel()
        first = network.branch_ends[:, 0]
        power = (voltage[first.clip(min=0)] * current.conj()).real
        signs: NDArray[np.float64] = np.where(first >= 0, np.sign(power), 0.0)
        return signs
