"""Key figures of the community: what it pays, uses and stores."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gridbazaar.envs.day_record import DayRecord
from gridbazaar.envs.kpis.registry import enter, kpi, kwh, percentage
from gridbazaar.envs.observation import ROLES


@kpi("EUR/day", "lower")
def community_cost(day: DayRecord) -> Tensor:
    """Cost of all seats together"""
    return day.seat_cost.sum(-1)


def _role_cost(role: str) -> Callable[[DayRecord], Tensor]:
    def cost(day: DayRecord) -> Tensor:
        mine = day.facts.seats_of(role)
        return (day.seat_cost * mine).sum(-1) + (0.0 if mine.any() else torch.nan)

    return cost


for _role in ROLES:
    enter(f"cost_{_role}", "EUR/day", "lower", f"Cost of all {_role} seats together")(
        _role_cost(_role)
    )


def _community_net(day: DayRecord) -> Tensor:
    return day.net_kw.sum(-1)


@kpi("%", "higher")
def self_sufficiency(day: DayRecord) -> Tensor:
    """Share of the energy used (loads and cars) that the community did not import meanwhile"""
    used = (day.load_kw - day.consumer_kw.clamp(max=0)).sum(-1)
    imported = torch.minimum((-_community_net(day)).clamp(min=0), used)
    return percentage(kwh(used - imported, day), kwh(used, day))


@kpi("%", "higher")
def self_consumption(day: DayRecord) -> Tensor:
    """Share of the PV energy that the community did not export meanwhile"""
    pv = day.pv_kw.sum(-1)
    exported = torch.minimum(_community_net(day).clamp(min=0), pv)
    return percentage(kwh(pv - exported, day), kwh(pv, day))


@kpi("kWh/day", "lower")
def grid_import(day: DayRecord) -> Tensor:
    """Energy that the community took from outside, slot by slot"""
    return kwh((-_community_net(day)).clamp(min=0), day)


@kpi("kWh/day", "-")
def grid_export(day: DayRecord) -> Tensor:
    """Energy that the community gave to the outside, slot by slot"""
    return kwh(_community_net(day).clamp(min=0), day)


@kpi("kW", "lower")
def peak_import(day: DayRecord) -> Tensor:
    """Highest mean power of a slot that the community took from outside"""
    return (-_community_net(day)).clamp(min=0).amax(0)


@kpi("kg/day", "lower")
def carbon(day: DayRecord) -> Tensor:
    """CO2 of the energy taken from outside, at the grid's mean intensity"""
    return grid_import(day) * day.facts.carbon_kg_per_kwh


@kpi("kWh/day", "lower", "market")
def unserved_ev(day: DayRecord) -> Tensor:
    """Energy that cars missed at departure"""
    return day.unserved_kwh.sum((0, -1))


@kpi("1/day", "-", "market")
def full_cycles(day: DayRecord) -> Tensor:
    """Energy discharged from stationary batteries over their capacity"""
    discharged = kwh(day.battery_kw.clamp(min=0), day)
    return percentage(discharged, day.facts.battery_kwh.sum()) / 100
