"""First-order effect of injected power on voltages and branch loadings, at any AC state.

From v = w + Z i with i = conj(s / v) follows, for a change dp of the injected power,
    dv + Z diag(conj(s / v^2)) conj(dv) = Z diag(conj(1 / v)) dp
one real linear system per market, with all injections as right-hand sides. Voltages elsewhere and
branch currents are linear in i. Exact at the state, where `Sensitivities` hold at no load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.grid.network import Network


@dataclass(frozen=True)
class FeederSlopes:
    """The feeder as seen from M injections, float64.

    Attributes:
        impedance: [M, M] complex, voltage at an injection per current at another.
        output, offset: [O, M] and [O] complex, from currents to bus voltages, then branch currents
            in percent at the one end, then at the other.
        buses, branches: how many of each.
        base_kw: power of 1 p.u.
    """

    impedance: Tensor
    output: Tensor
    offset: Tensor
    buses: int
    branches: int
    base_kw: float

    @classmethod
    def of(
        cls, network: Network, injection_buses: Sequence[int], device: torch.device | str
    ) -> FeederSlopes:
        """Take over the feeder for injections at these buses, [M] pandapower indices."""
        nodes = network.nodes_of(injection_buses)
        reach, no_load = network.impedance(nodes), network.no_load_voltage()
        ends = (network.percent_from, network.percent_to)

        def tensor(values: NDArray[np.complex128]) -> Tensor:
            return torch.as_tensor(values, dtype=torch.complex128, device=device)

        return cls(
            tensor(reach[nodes]),
            tensor(np.concatenate([reach[network.bus_node], *(end @ reach for end in ends)])),
            tensor(np.concatenate([no_load[network.bus_node], *(end @ no_load for end in ends)])),
            len(network.bus_node),
            network.percent_from.shape[0],
            network.base_mva * 1e3,
        )

    def at(self, power_kva: Tensor, v: Tensor, chosen: Tensor) -> Tensor:
        """Return the slopes [R, K, M] of chosen magnitudes [R, K], per kW at each injection.

        Args:
            power_kva: [R, M] complex injections, positive export.
            v: [R, M] complex p.u. voltages that they lead to.
            chosen: [R, K] below `buses` a bus voltage in p.u., above it a branch loading in percent
                (of the end that carries more).
        """
        s, v = power_kva.to(self.impedance) / self.base_kw, v.to(self.impedance)
        current = (s / v).conj()
        by_voltage, by_power = (s / v.square()).conj(), v.reciprocal().conj() / self.base_kw
        # d current = by_power dp - by_voltage conj(dv), with dv = impedance d current.
        back = self.impedance * by_voltage.unsqueeze(-2)
        aim = self.impedance * by_power.unsqueeze(-2)
        one = torch.eye(len(self.impedance), dtype=torch.float64, device=aim.device)
        upper = torch.cat([one + back.real, back.imag], -1)
        lower = torch.cat([back.imag, one - back.real], -1)
        solved = torch.linalg.solve(
            torch.cat([upper, lower], -2), torch.cat([aim.real, aim.imag], -2)
        )
        real, imaginary = solved.chunk(2, -2)
        d_current = torch.diag_embed(by_power) - by_voltage.unsqueeze(-1) * torch.complex(
            real, -imaginary
        )
        row = self._end(current, chosen)
        value = (current.unsqueeze(-2) @ self.output[row].transpose(-1, -2)).squeeze(-2)
        value = value + self.offset[row]
        way = value.conj() / value.abs().clamp(min=torch.finfo(torch.float64).tiny)
        return ((way.unsqueeze(-1) * self.output[row]) @ d_current).real

    def _end(self, current: Tensor, chosen: Tensor) -> Tensor:
        """Return the output rows [R, K] of what is chosen; a branch's end that carries more."""
        sizes = (current @ self.output[self.buses :].T + self.offset[self.buses :]).abs()
        one, other = sizes.split(self.branches, -1)
        on_other = torch.cat(
            [torch.zeros_like(sizes[:, :1]).expand(-1, self.buses) > 0, other > one], -1
        )
        return chosen + self.branches * on_other.gather(-1, chosen)
