"""Key figures of the feeder; intervals without a power flow count in `unsolved_flows` alone."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.day_record import DayRecord
from gridbazaar.envs.kpis.registry import kpi, kwh


def _extreme(values: Tensor, day: DayRecord, sign: int) -> Tensor:
    """Highest (sign 1) or lowest (sign -1) of the solved intervals, NaN without any."""
    highest = torch.where(day.solved, sign * values, -torch.inf).amax(0)
    return torch.where(highest.isinf(), torch.nan, sign * highest)


@kpi("p.u.", "-", "network")
def min_voltage(day: DayRecord) -> Tensor:
    """Lowest voltage of any bus"""
    return _extreme(day.voltage_pu.amin(-1), day, -1)


@kpi("p.u.", "-", "network")
def max_voltage(day: DayRecord) -> Tensor:
    """Highest voltage of any bus"""
    return _extreme(day.voltage_pu.amax(-1), day, 1)


@kpi("bus-h/day", "lower", "network")
def voltage_violations(day: DayRecord) -> Tensor:
    """Buses outside the voltage band, times hours"""
    return kwh(torch.where(day.solved, day.bad_buses, 0.0), day)


@kpi("branch-h/day", "lower", "network")
def overloads(day: DayRecord) -> Tensor:
    """Lines and transformers above their rating, times hours"""
    return kwh(torch.where(day.solved, day.bad_branches, 0.0), day)


@kpi("%", "lower", "network")
def limits_broken(day: DayRecord) -> Tensor:
    """Intervals in which a bus or branch is outside its limits"""
    broken = (day.bad_buses + day.bad_branches > 0) & day.solved
    return 100 * broken.double().mean(0)


@kpi("EUR/day", "lower", "network")
def limits_cost(day: DayRecord) -> Tensor:
    """Price of the limits broken, which the seats share"""
    return day.violation_eur.sum(0)


@kpi("kWh/day", "lower", "network")
def curtailed_energy(day: DayRecord) -> Tensor:
    """PV energy that was not generated, for the feeder's limits or a negative price"""
    return kwh(day.curtailed_kw, day)


@kpi("%", "lower", "network")
def max_line_loading(day: DayRecord) -> Tensor:
    """Highest loading of any line"""
    return _extreme(day.line_percent, day, 1)


@kpi("%", "lower", "network")
def max_transformer_loading(day: DayRecord) -> Tensor:
    """Highest loading of any transformer"""
    return _extreme(day.trafo_percent, day, 1)


@kpi("kWh/day", "lower", "network")
def losses(day: DayRecord) -> Tensor:
    """Energy lost in the feeder"""
    return kwh(torch.where(day.solved, day.losses_kw, 0.0), day)


@kpi("1/day", "lower", "network")
def unsolved_flows(day: DayRecord) -> Tensor:
    """Intervals without a power flow"""
    return (~day.solved).sum(0).double()
