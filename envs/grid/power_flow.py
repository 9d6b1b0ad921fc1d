"""Batched AC power flow of a `Network`: many injections at once, on any torch device.

Node voltages follow from injected currents by v = w + Z conj(s / v), with w the no-load voltages
and Z the impedance matrix restricted to the injection buses. This fixed point contracts quickly on
a distribution feeder far from collapse (S. Bolognani, S. Zampieri, "On the existence and linear
approximation of the power flow solution in power distribution networks", IEEE Trans. Power Systems
31(1), 2016); rows that it does not settle go on to `newton.refine`. Everything else (other
voltages, branch currents) is linear in the injected currents, so one product yields it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.grid.feeder_slopes import FeederSlopes
from gridbazaar.envs.grid.network import Network
from gridbazaar.envs.grid.newton import differentiable, refine
from gridbazaar.envs.grid.sensitivities import Sensitivities

# Largest last step accepted, per unit: well under the promised 1e-8 and 1e-4, above rounding noise.
_TOLERANCE_PU = {torch.float64: 1e-11, torch.float32: 5e-6}
_COMPLEX = {torch.float64: torch.complex128, torch.float32: torch.complex64}
# Iterations between looks at convergence: each look waits for the device.
_SCHEDULE = (3, 1, 2, 2, 3, 4, 5, 5, 5, 10)


@dataclass(frozen=True)
class Solution:
    """State of a feeder in each of B environments.

    Where `converged` is False no operating point was found: the values are finite (those of the
    smallest mismatch met), no result, and `v` there is the no-load state, a safe next start.
    """

    v: Tensor  # [B, M] complex p.u. at the injection buses
    vm_pu: Tensor  # [B, nbus] in the order of Network.buses
    line_loading_percent: Tensor  # [B, nl]
    trafo_loading_percent: Tensor  # [B, nt]
    losses_kw: Tensor  # [B]
    slack_kw: Tensor  # [B] import from the external grids
    converged: Tensor  # [B] bool
    iterations: int  # of the slowest row

    def replaced(self, rows: Tensor, other: Solution) -> Solution:
        """This solution with `rows` [R] taken from `other`, a solution of R environments."""
        merged = {
            field.name: getattr(self, field.name).index_copy(0, rows, getattr(other, field.name))
            for field in fields(self)
            if field.name != "iterations"
        }
        return Solution(iterations=max(self.iterations, other.iterations), **merged)


class FlowSolver(Protocol):
    """A power flow as the rest of the project uses it; a sparse solver may stand in.

    Attributes:
        network: the feeder.
        injection_buses: [M] pandapower index of each injection's bus; one may come twice.
        device, dtype: of what it takes and gives.
    """

    network: Network
    injection_buses: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype

    @property
    def injections(self) -> int:
        """How many injections there are, M."""
        return len(self.injection_buses)

    @cached_property
    def sensitivities(self) -> Sensitivities:
        """First-order effects of the injections at the no-load state."""
        return Sensitivities.of(self.network, self.injection_buses, self.device, self.dtype)

    @cached_property
    def slopes(self) -> FeederSlopes:
        """First-order effects of the injections at any state, in float64."""
        return FeederSlopes.of(self.network, self.injection_buses, self.device)

    def solve(
        self, p_kw: Tensor, q_kvar: Tensor | None = None, start: Tensor | None = None
    ) -> Solution:
        """Solve for net injections [B, M], positive = export."""
        ...


class PowerFlow(FlowSolver):
    """Dense batched power flow for injections at `injection_buses` (pandapower indices, [M]).

    Several columns may name one bus or fused buses. `dtype` is float32 or float64; float64 agrees
    with `pandapower.runpp` within 1e-8 p.u., float32 within 1e-4. Memory grows as M times the
    number of buses and branches: meant for up to some hundreds of buses.
    """

    def __init__(
        self,
        network: Network,
        injection_buses: Sequence[int] | NDArray[np.int64],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        tolerance_pu: float | None = None,
    ) -> None:
        if dtype not in _COMPLEX:
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        if not len(injection_buses):
            raise ValueError("injection_buses is empty; name at least one pandapower bus")
        self.network = network
        self.injection_buses = tuple(int(bus) for bus in injection_buses)
        self.device, self.dtype = torch.device(device), dtype
        self.tolerance_pu = _TOLERANCE_PU[dtype] if tolerance_pu is None else tolerance_pu
        self._kw_base = network.base_mva * 1e3

        nodes = network.nodes_of(injection_buses)
        no_load, reach = network.no_load_voltage(), network.impedance(nodes)
        loss_free, self._no_load_losses_kw = _loss_terms(network, nodes, no_load, reach)
        self._w = self._complex(no_load[nodes])
        self._z = self._complex(reach[nodes])
        self._loss_free = self._complex(loss_free)
        self._step_matrix = self._real(_conjugate_product(reach[nodes], blocks=False))
        self._step_offset = torch.view_as_real(self._w).reshape(-1)
        self._output_matrix, self._output_offset = self._outputs(no_load, reach)

    def no_load(self, batch: int) -> Tensor:
        """Flat start [B, M]: the complex voltages without injections."""
        return self._w.expand(batch, -1)

    def solve(
        self, p_kw: Tensor, q_kvar: Tensor | None = None, start: Tensor | None = None
    ) -> Solution:
        """Solve for net injections `p_kw`, `q_kvar` [B, M], positive = export (no `q_kvar`: zero).

        `start` [B, M] complex is the `v` of an earlier solution. Each row is solved as if alone.
        All of the state differentiates with respect to the injections, by the implicit function
        theorem at the solution; a row that has not converged has no gradient.
        Raises `ValueError` for a wrong shape, and for values that are not finite.
        """
        self._check(p_kw, q_kvar, start)
        p_pu = p_kw / self._kw_base
        q_pu = torch.zeros_like(p_pu) if q_kvar is None else q_kvar / self._kw_base
        s = torch.complex(p_pu, q_pu)
        begin = self.no_load(len(s)) if start is None else start.detach()
        v, converged, iterations = self._settle(s.detach(), begin)
        if s.requires_grad:
            v = differentiable(self._z, self._w, s, v, converged)
        return self._describe(p_kw, s, v, converged, iterations)

    def _step(self, s: Tensor, v: Tensor) -> Tensor:
        share = torch.view_as_real(s * v.reciprocal()).view(len(s), -1)
        moved = torch.addmm(self._step_offset, share, self._step_matrix)
        return torch.view_as_complex(moved.view(len(s), -1, 2))

    def _settle(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor, int]:
        """Iterate; a settled row leaves the batch, so that no row depends on its neighbours."""
        settled, rows = v, torch.empty(0)
        active, iterations = s, 0
        for count in _SCHEDULE:
            before = v
            for _ in range(count):
                before, v = v, self._step(active, v)
            iterations += count
            done = torch.view_as_real(v - before).abs().amax((1, 2)) <= self.tolerance_pu
            all_done = bool(done.all())
            if iterations == _SCHEDULE[0]:
                if all_done:
                    return v, done, iterations
                settled, rows = v.clone(), torch.arange(len(s), device=s.device)
            settled[rows] = v
            if all_done:
                return settled, self._all_true(len(s)), iterations
            rows, v, active = rows[~done], v[~done], active[~done]
        self._check_finite(s)
        refined, found, extra = refine(self._z, self._w, active, v, self.tolerance_pu)
        settled[rows] = refined
        converged = self._all_true(len(s))
        converged[rows] = found
        return settled, converged, iterations + extra

    def _describe(
        self, p_kw: Tensor, s: Tensor, v: Tensor, converged: Tensor, iterations: int
    ) -> Solution:
        share = s * v.reciprocal()  # conjugate of the injected current
        flat = torch.view_as_real(share).view(len(s), -1)
        out = torch.addmm(self._output_offset, flat, self._output_matrix)
        square = out.square_()
        count = square.shape[1] // 2
        square = square[:, :count] + square[:, count:]
        buses, lines = len(self.network.buses), len(self.network.lines)
        branches = lines + len(self.network.trafos)
        one_end, other_end = square[:, buses : buses + branches], square[:, buses + branches :]
        loading = _root(torch.maximum(one_end, other_end))
        losses = torch.view_as_real(share * (v - self._loss_free))[..., 0].sum(1)
        losses_kw = losses * self._kw_base + self._no_load_losses_kw
        if iterations >= sum(_SCHEDULE):
            v = torch.where(converged[:, None], v, self._w)
        return Solution(
            v=v,
            vm_pu=_root(square[:, :buses]),
            line_loading_percent=loading[:, :lines],
            trafo_loading_percent=loading[:, lines:],
            losses_kw=losses_kw,
            slack_kw=losses_kw - p_kw.sum(1),
            converged=converged,
            iterations=iterations,
        )

    def _outputs(
        self, no_load: NDArray[np.complex128], reach: NDArray[np.complex128]
    ) -> tuple[Tensor, Tensor]:
        """Map from conjugate currents to all voltages and both ends of all branches."""
        network = self.network
        ends = (network.percent_from, network.percent_to)
        rows = np.concatenate([reach[network.bus_node], *(end @ reach for end in ends)])
        offset = np.concatenate([no_load[network.bus_node], *(end @ no_load for end in ends)])
        matrix = self._real(_conjugate_product(rows, blocks=True))
        return matrix, self._real(np.concatenate([offset.real, offset.imag]))

    def _check(self, p_kw: Tensor, q_kvar: Tensor | None, start: Tensor | None) -> None:
        if p_kw.ndim != 2 or p_kw.shape[1] != self.injections:
            raise ValueError(f"p_kw must have shape [B, {self.injections}], got {list(p_kw.shape)}")
        if q_kvar is not None and q_kvar.shape != p_kw.shape:
            raise ValueError(
                f"q_kvar must have the shape of p_kw {list(p_kw.shape)}, got {list(q_kvar.shape)}"
            )
        if start is not None and start.shape != p_kw.shape:
            raise ValueError(
                f"start must be an earlier solution's v of shape {list(p_kw.shape)}, "
                f"got {list(start.shape)}"
            )
        if p_kw.dtype != self.dtype:
            raise ValueError(f"p_kw must be {self.dtype} as this PowerFlow, got {p_kw.dtype}")

    def _check_finite(self, s: Tensor) -> None:
        bad = (~torch.isfinite(torch.view_as_real(s)).all(-1)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            raise ValueError(
                f"Injection of environment {row}, column {column} is not finite "
                f"({len(bad)} such values); p_kw and q_kvar must be finite"
            )

    def _all_true(self, batch: int) -> Tensor:
        return torch.ones(batch, dtype=torch.bool, device=self.device)

    def _complex(self, values: NDArray[np.complex128]) -> Tensor:
        return torch.as_tensor(values, dtype=_COMPLEX[self.dtype], device=self.device)

    def _real(self, values: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)


def _root(square: Tensor) -> Tensor:
    """Return the square root, in place where no gradient is asked; at zero its slope is zero."""
    if not square.requires_grad:
        return square.sqrt_()
    return torch.where(square > 0, square, 1.0).sqrt().where(square > 0, 0.0)


def _conjugate_product(a: NDArray[np.complex128], blocks: bool) -> NDArray[np.float64]:
    """Real matrix [2M, 2K] taking interleaved y [.., 2M] to a conj(y): interleaved, or re | im."""
    rows, columns = a.shape
    result = np.empty((columns, 2, rows, 2))
    result[:, 0, :, 0], result[:, 1, :, 0] = a.T.real, a.T.imag
    result[:, 0, :, 1], result[:, 1, :, 1] = a.T.imag, -a.T.real
    if blocks:
        result = result.swapaxes(2, 3)
    return np.ascontiguousarray(result.reshape(2 * columns, 2 * rows))


def _loss_terms(
    network: Network,
    nodes: NDArray[np.int64],
    no_load: NDArray[np.complex128],
    reach: NDArray[np.complex128],
) -> tuple[NDArray[np.complex128], float]:
    """Voltages [M] at which an injected unit of current costs no losses, and no-load losses in kW.

    Losses are slack import + injections = no-load losses + sum Re(conj(c) (v - these voltages)):
    the large flows cancel here, in float64, and not in the step.
    """
    slack = network.slack_nodes
    carried = network.ybus[slack] @ reach
    carried = carried - (nodes[None, :] == slack[:, None])
    no_load_current = network.ybus[slack] @ no_load
    loss_free = -(network.slack_voltage[:, None] * np.conj(carried)).sum(0)
    no_load_power = (network.slack_voltage * np.conj(no_load_current)).sum()
    return loss_free, float(no_load_power.real) * network.base_mva * 1e3
