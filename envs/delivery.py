"""Delivery: the feeder under the seats' power, and what is done where it bears no more.

`price` lets it happen and charges for it; `curtail` cuts exports and charging in proportion to
their effect on the broken limit; `prevent` keeps every seat inside an operating envelope that the
feeder bears whatever the others do. Loads are served in all three.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.config import LimitsConfig
from gridbazaar.envs.devices.fleet import seat_power
from gridbazaar.envs.devices.protocol import Band
from gridbazaar.envs.grid.curtailment import curtail
from gridbazaar.envs.grid.distance import electrical_distance
from gridbazaar.envs.grid.envelope import operating_envelope
from gridbazaar.envs.grid.limits import Limits, Violations, violations
from gridbazaar.envs.grid.power_flow import FlowSolver, PowerFlow, Solution
from gridbazaar.envs.markets import GridContext

_CURTAILMENT_ROUNDS = 4


@dataclass(frozen=True)
class Delivered:
    """Power of one interval as metered, [B, N] kW unless said otherwise.

    Attributes:
        pv_kw: after curtailment.
        flexible_kw: of the seat's devices together after curtailment.
        net_kw: at the seat's meter, positive exported.
        voltage_pu: at the seat's bus, [B, N].
        solution: state of the feeder.
        violation_eur: [B] price of the limits broken.
    """

    pv_kw: Tensor
    flexible_kw: Tensor
    net_kw: Tensor
    voltage_pu: Tensor
    solution: Solution
    violation_eur: Tensor


def violation_cost(
    broken: Violations, converged: Tensor, rules: LimitsConfig, slot_h: float
) -> Tensor:
    """Return the price of the limits broken, [B] EUR; unsolved intervals have their own."""
    voltage = (broken.under_pu + broken.over_pu).sum(-1)
    loading = broken.line_percent.sum(-1) + broken.trafo_percent.sum(-1)
    cost = (voltage * rules.voltage_price + loading * rules.loading_price) * slot_h
    return torch.where(converged, cost, rules.unsolved_price)


def cut(
    pv_kw: Tensor, flexible_kw: Tensor, export_kw: Tensor, import_kw: Tensor
) -> tuple[Tensor, Tensor]:
    """Take power away from a seat: its discharging first, then its PV; or its charging.

    Args:
        pv_kw: [B, N] generated.
        flexible_kw: [B, N], positive discharges.
        export_kw: [B, N] to take from what is exported, at most PV and discharging together.
        import_kw: [B, N] to take from charging, at most all of it.

    Returns:
        PV and flexible power after.
    """
    from_storage = torch.minimum(flexible_kw.clamp(min=0), export_kw)
    return pv_kw - (export_kw - from_storage), flexible_kw - from_storage + import_kw


class Delivery:
    """The feeder and the rule for its limits.

    Args:
        community: seats and background.
        feeder: the power flow over the community's buses.
        buses: [M] pandapower bus of each injection.
        limits: of voltage and loading.
        rules: what happens where they break.
    """

    def __init__(
        self,
        community: Community,
        feeder: PowerFlow,
        buses: NDArray[np.int64],
        limits: Limits,
        rules: LimitsConfig,
    ):
        self._feeder, self.limits, self._rules = feeder, limits, rules
        self._slot_h = community.slot_h
        c = community
        self._to_bus = torch.nn.functional.one_hot(c.bus, len(buses)).to(c.pv_kwp)
        row = np.searchsorted(feeder.network.buses, buses)
        self._seat_row = torch.as_tensor(row, device=c.bus.device)[c.bus]
        seat_bus = c.bus.cpu().numpy()
        distance = electrical_distance(feeder.network, buses)[np.ix_(seat_bus, seat_bus)]
        nothing = c.bus_p_kw[:0]
        self._grid = GridContext(
            distance=torch.as_tensor(distance).to(c.pv_kwp),
            green=c.pv_kwp > 0,
            solver=feeder,
            limits=limits,
            to_bus=self._to_bus,
            background_kw=nothing,
            reactive_kvar=nothing,
        )
        self.envelope = self._envelope(c) if rules.action == "prevent" else None

    def _envelope(self, c: Community) -> tuple[Tensor, Tensor]:
        """Return what each seat may import and export, [N] kW each, under the worst background."""
        most_pv, most_load = c.pv_kw.amax(0), c.load_kw.amax(0)
        export_kw = (most_pv + c.fleet.export_kw) @ self._to_bus
        import_kw = (most_load + c.fleet.import_kw) @ self._to_bus
        sending = operating_envelope(
            self._feeder, self.limits, export_kw, import_kw, c.bus_p_kw.amax(0)
        )
        taking = operating_envelope(
            self._feeder, self.limits, export_kw, import_kw, c.bus_p_kw.amin(0)
        )
        return (
            (most_load + c.fleet.import_kw) * taking.import_share,
            (most_pv + c.fleet.export_kw) * sending.export_share,
        )

    @property
    def feeder(self) -> FlowSolver:
        """The power flow over the community's buses."""
        return self._feeder

    def grid_context(self, background_kw: Tensor, reactive_kvar: Tensor) -> GridContext:
        """Return what a market may know of the feeder, given the rest's injections [B, M]."""
        return replace(self._grid, background_kw=background_kw, reactive_kvar=reactive_kvar)

    def limited(self, must_run_kw: Tensor, band: Band) -> tuple[Tensor, Band]:
        """Return a must-run net [B, N] kW and what devices may do inside the envelope, if any.

        Takes and gives are cut pro rata to what is left of it; a surplus beyond it is not sold;
        loads and what devices must take always flow.
        """
        if self.envelope is None:
            return must_run_kw, band
        import_kw, export_kw = self.envelope
        must_run_kw = torch.minimum(must_run_kw, export_kw)
        net_kw = must_run_kw + seat_power(band.must_kw)
        tiny = torch.finfo(net_kw.dtype).tiny
        give = (export_kw - net_kw).clamp(min=0) / seat_power(band.give_kw).clamp(min=tiny)
        take = (import_kw + net_kw).clamp(min=0) / seat_power(band.take_kw).clamp(min=tiny)
        return must_run_kw, Band(
            band.must_kw,
            band.take_kw * take.clamp(max=1).unsqueeze(-1),
            band.give_kw * give.clamp(max=1).unsqueeze(-1),
        )

    def plan(self, pv_kw: Tensor, load_kw: Tensor, flexible_kw: Tensor) -> tuple[Tensor, Tensor]:
        """Return PV and flexible power [B, N] kW inside the envelope, where there is one."""
        if self.envelope is None:
            return pv_kw, flexible_kw
        import_kw, export_kw = self.envelope
        net_kw = pv_kw - load_kw + flexible_kw
        over_export = (net_kw - export_kw).clamp(min=0)
        over_import = torch.minimum((-net_kw - import_kw).clamp(min=0), (-flexible_kw).clamp(min=0))
        most = pv_kw + flexible_kw.clamp(min=0)
        return cut(pv_kw, flexible_kw, torch.minimum(over_export, most), over_import)

    def __call__(
        self,
        pv_kw: Tensor,
        load_kw: Tensor,
        flexible_kw: Tensor,
        background_kw: Tensor,
        reactive_kvar: Tensor,
        start: Tensor | None,
    ) -> Delivered:
        """Let the power flow.

        Args:
            pv_kw: [B, N] that the sun offers.
            load_kw: [B, N].
            flexible_kw: [B, N] that the devices were told to give.
            background_kw: [B, M] injections of those outside the market.
            reactive_kvar: [B, M] injections of all.
            start: voltages of the last interval, where known.
        """
        pv_kw, flexible_kw = self.plan(pv_kw, load_kw, flexible_kw)
        net_kw = pv_kw - load_kw + flexible_kw
        injection_kw = torch.addmm(background_kw, net_kw, self._to_bus)
        solution = self._feeder.solve(injection_kw, reactive_kvar, start)
        if self._rules.action == "curtail":
            pv_kw, flexible_kw, solution = self._curtail(
                pv_kw, load_kw, flexible_kw, injection_kw, reactive_kvar, solution
            )
            net_kw = pv_kw - load_kw + flexible_kw
        broken = violations(solution, self.limits)
        cost = violation_cost(broken, solution.converged, self._rules, self._slot_h)
        voltage_pu = solution.vm_pu[:, self._seat_row]
        return Delivered(pv_kw, flexible_kw, net_kw, voltage_pu, solution, cost)

    def _curtail(
        self,
        pv_kw: Tensor,
        load_kw: Tensor,
        flexible_kw: Tensor,
        injection_kw: Tensor,
        reactive_kvar: Tensor,
        solution: Solution,
    ) -> tuple[Tensor, Tensor, Solution]:
        """Cut what breaks a limit; the cut at a bus is shared by its seats pro rata."""
        sends = (pv_kw + flexible_kw.clamp(min=0)) @ self._to_bus
        takes = (-flexible_kw).clamp(min=0) @ self._to_bus
        exporting = injection_kw > 0
        available = torch.where(exporting, sends, takes)
        left_kw, solution = curtail(
            self._feeder,
            self.limits,
            injection_kw,
            reactive_kvar,
            solution,
            _CURTAILMENT_ROUNDS,
            available,
        )
        tiny = torch.finfo(available.dtype).tiny
        share = (injection_kw - left_kw).abs() / available.clamp(min=tiny)
        export_share = (share * exporting) @ self._to_bus.T
        import_share = (share * ~exporting) @ self._to_bus.T
        pv_kw, flexible_kw = cut(
            pv_kw,
            flexible_kw,
            (pv_kw + flexible_kw.clamp(min=0)) * export_share,
            (-flexible_kw).clamp(min=0) * import_share,
        )
        return pv_kw, flexible_kw, solution
