"""Limits of a feeder (voltage band, thermal limits) and the depth by which a state breaks them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.grid.network import Network
from gridbazaar.envs.grid.power_flow import Solution

# Breaches up to here are none: above the power flow's own accuracy in float32, below anything a
# meter would tell.
VOLTAGE_TOLERANCE_PU, LOADING_TOLERANCE_PERCENT = 1e-5, 1e-2


@dataclass(frozen=True)
class Limits:
    """Bounds in the order of `Network.buses`, `.lines` and `.trafos`."""

    vm_min_pu: Tensor  # [nbus]
    vm_max_pu: Tensor  # [nbus]
    line_percent: Tensor  # [nl] of the thermal limit
    trafo_percent: Tensor  # [nt]

    @classmethod
    def of(
        cls,
        network: Network,
        band_pu: tuple[float, float],
        loading_percent: float,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Limits:
        """The net's own limits; `band_pu` and `loading_percent` where it gives none.

        Raises `ValueError` where a lower voltage bound lies above the upper one; a bus whose
        voltage is held may have a band of one point.
        """

        def filled(values: NDArray[np.float64], default: float) -> Tensor:
            complete = np.where(np.isnan(values), default, values)
            return torch.as_tensor(complete, dtype=dtype, device=device)

        low, high = filled(network.vm_min_pu, band_pu[0]), filled(network.vm_max_pu, band_pu[1])
        empty = network.buses[(low > high).cpu().numpy()]
        if len(empty):
            raise ValueError(
                f"Buses {empty.tolist()} of '{network.name}' have a lower voltage bound above the "
                f"upper one (default band {band_pu}); mend min_vm_pu and max_vm_pu or the band"
            )
        return cls(
            vm_min_pu=low,
            vm_max_pu=high,
            line_percent=filled(network.line_max_percent, loading_percent),
            trafo_percent=filled(network.trafo_max_percent, loading_percent),
        )


@dataclass(frozen=True)
class Violations:
    """How far each limit is broken, zero where it holds."""

    under_pu: Tensor  # [B, nbus]
    over_pu: Tensor  # [B, nbus]
    line_percent: Tensor  # [B, nl] points above the limit
    trafo_percent: Tensor  # [B, nt] points above the limit

    def broken(self, voltage_pu: float = 0.0, percent: float = 0.0) -> Tensor:
        """Whether an environment [B] breaks any limit by more than the given tolerances."""
        voltage = torch.cat([self.under_pu, self.over_pu], 1).amax(1) > voltage_pu
        loading = torch.cat([self.line_percent, self.trafo_percent], 1)
        if loading.shape[1] == 0:
            return voltage
        return voltage | (loading.amax(1) > percent)


def violations(solution: Solution, limits: Limits) -> Violations:
    """Depth by which each limit is broken; pure, any B."""
    return Violations(
        under_pu=(limits.vm_min_pu - solution.vm_pu).clamp_min(0.0),
        over_pu=(solution.vm_pu - limits.vm_max_pu).clamp_min(0.0),
        line_percent=(solution.line_loading_percent - limits.line_percent).clamp_min(0.0),
        trafo_percent=(solution.trafo_loading_percent - limits.trafo_percent).clamp_min(0.0),
    )
