"""First-order effect of injected power on voltages and branch loadings, at the no-load state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.grid.network import Network

# A weaker pull than this share of the strongest is not responsible (a mesh couples all branches).
_RESPONSIBLE = 0.02


@dataclass(frozen=True)
class Sensitivities:
    """First-order effect of one more kW exported at each injection bus, at the no-load state."""

    vm_pu: Tensor  # [nbus, M] p.u. per kW
    branch_percent: Tensor  # [nl + nt, M] per kW, lines first; negative: against the branch's way
    relief: Tensor  # [K, 2M] of each limit by a kW cut, see `_relief`

    @classmethod
    def of(
        cls,
        network: Network,
        injection_buses: Sequence[int] | NDArray[np.int64],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Sensitivities:
        """Analytic from the impedance matrix: dV = Z conj(ds / w), d|V| = Re(dV conj(V) / |V|).

        The way of a branch is that of the current its most effective injection causes; only the
        component in phase with it counts.
        """
        nodes = network.nodes_of(injection_buses)
        no_load = network.no_load_voltage()
        per_kw = network.impedance(nodes) / (np.conj(no_load[nodes]) * network.base_mva * 1e3)
        at_bus = no_load[network.bus_node, None]
        vm = (per_kw[network.bus_node] * np.conj(at_bus) / np.abs(at_bus)).real
        current = network.percent_from @ per_kw
        strongest = np.abs(current).argmax(1)[:, None] if len(current) else np.zeros((0, 1), int)
        along = np.take_along_axis(current, strongest, axis=1)
        size = np.abs(along)
        way = np.conj(along) / np.where(size > 0, size, 1.0)
        vm_pu = torch.as_tensor(vm, dtype=dtype, device=device)
        branch_percent = torch.as_tensor((current * way).real, dtype=dtype, device=device)
        return cls(vm_pu, branch_percent, _relief(vm_pu, branch_percent))


def _relief(vm_pu: Tensor, branch_percent: Tensor) -> Tensor:
    """Relief [K, 2M] of each limit per kW cut from an export (first M) or import (last M).

    Limits in order: overvoltage, undervoltage, branch along its way, branch against it.
    """
    voltage = vm_pu.clamp_min(0.0)
    nothing = torch.zeros_like(voltage)
    along, against = branch_percent.clamp_min(0.0), (-branch_percent).clamp_min(0.0)
    relief = torch.cat(
        [
            torch.cat([voltage, nothing], 1),
            torch.cat([nothing, voltage], 1),
            torch.cat([along, against], 1),
            torch.cat([against, along], 1),
        ]
    )
    return relief * (relief >= _RESPONSIBLE * relief.amax(1, keepdim=True))
