"""Key figures of a recorded day, [B] each: one function per figure, entered in one table.

A cost is the negative of the reward: energy bill, ledger fees and penalties, battery wear, unserved
cars, the share of the feeder's violations, less the worth of what is left in store. Intervals
without a power flow are left out of the feeder's figures and counted in `unsolved_flows`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from envs.markets.book import cross, fill
from envs.observation import ROLES
from envs.record import DayRecord
from envs.settlement import broken_commitment_kw

Better = Literal["lower", "higher", "-"]


@dataclass(frozen=True)
class Kpi:
    """What a figure is called and means; `unit` names money as EUR whatever the currency."""

    name: str
    unit: str
    better: Better
    meaning: str
    compute: Callable[[DayRecord], Tensor]


KPIS: dict[str, Kpi] = {}


def compute(day: DayRecord) -> dict[str, Tensor]:
    """Return every figure by name, [B] each in float64; NaN where it is not defined."""
    return {name: kpi.compute(day) for name, kpi in KPIS.items()}


def _enter(name: str, unit: str, better: Better, meaning: str) -> Callable:
    def decorate(function: Callable[[DayRecord], Tensor]) -> Callable[[DayRecord], Tensor]:
        KPIS[name] = Kpi(name, unit, better, meaning, function)
        return function

    return decorate


def _kpi(unit: str, better: Better) -> Callable:
    """Enter a function under its own name; the first line of its docstring is the meaning."""

    def decorate(function: Callable[[DayRecord], Tensor]) -> Callable[[DayRecord], Tensor]:
        meaning = (function.__doc__ or "").strip().partition("\n")[0]
        return _enter(function.__name__, unit, better, meaning)(function)

    return decorate


def _kwh(power_kw: Tensor, day: DayRecord) -> Tensor:
    """Energy over the day, [B] kWh, of power [T, B] or [T, B, N]."""
    energy = power_kw.sum(0) * day.facts.slot_h
    return energy if energy.dim() == 1 else energy.sum(-1)


def _community_net(day: DayRecord) -> Tensor:
    return day.net_kw.sum(-1)


_ROUNDING = 1e-4  # EUR or kWh a day; float32 prices that tie differ by less


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Percentage, NaN where the whole is no more than rounding."""
    return torch.where(whole > _ROUNDING, 100 * part / whole, torch.nan)


def _quantile(values: Tensor, q: float) -> Tensor:
    """Nearest-rank quantile [B] of the finite entries of [T, B] or [T, B, N]; NaN without any."""
    flat = values.movedim(1, 0).flatten(1).sort(-1).values
    count = flat.isfinite().sum(-1, keepdim=True)
    rank = ((count * q).ceil().long() - 1).clamp(min=0)
    return torch.where(count > 0, flat.gather(-1, rank), torch.nan).squeeze(-1)


@_kpi("EUR/day", "lower")
def community_cost(day: DayRecord) -> Tensor:
    """Cost of all seats together"""
    return day.seat_cost.sum(-1)


def _role_cost(role: int) -> Callable[[DayRecord], Tensor]:
    def cost(day: DayRecord) -> Tensor:
        mine = day.facts.role == role
        return (day.seat_cost * mine).sum(-1) + (0.0 if mine.any() else torch.nan)

    return cost


for _number, _role in enumerate(ROLES):
    _enter(f"cost_{_role}", "EUR/day", "lower", f"Cost of all {_role} seats together")(
        _role_cost(_number)
    )


def _limit_value(quantity_kw: Tensor, day: DayRecord) -> Tensor:
    """What buyers would at most give less what sellers would at least take, [T, B] EUR."""
    return -(quantity_kw * day.limit_price).sum(-1) * day.facts.slot_h


@_kpi("EUR/day", "higher")
def social_welfare(day: DayRecord) -> Tensor:
    """Gains from local trade, measured by the seats' own limit prices"""
    return _limit_value(day.cleared_kw, day).sum(0)


@_kpi("%", "higher")
def allocative_efficiency(day: DayRecord) -> Tensor:
    """Gains from local trade over the most that the submitted book allowed"""
    T, B, N = day.order_kw.shape
    quantity, price = day.order_kw.reshape(T * B, N), day.limit_price.reshape(T * B, N)
    best_kw = fill(quantity, price, cross(quantity, price)).reshape(T, B, N)
    return _share(social_welfare(day), _limit_value(best_kw, day).sum(0))


@_kpi("%", "higher")
def self_sufficiency(day: DayRecord) -> Tensor:
    """Share of the energy used (loads and cars) that the community did not import meanwhile"""
    cars = day.facts.role == ROLES.index("ev")
    used = (day.load_kw - (day.flexible_kw * cars).clamp(max=0)).sum(-1)
    imported = torch.minimum((-_community_net(day)).clamp(min=0), used)
    return _share(_kwh(used - imported, day), _kwh(used, day))


@_kpi("%", "higher")
def self_consumption(day: DayRecord) -> Tensor:
    """Share of the PV energy that the community did not export meanwhile"""
    pv = day.pv_kw.sum(-1)
    exported = torch.minimum(_community_net(day).clamp(min=0), pv)
    return _share(_kwh(pv - exported, day), _kwh(pv, day))


@_kpi("kWh/day", "lower")
def grid_import(day: DayRecord) -> Tensor:
    """Energy that the community took from outside, slot by slot"""
    return _kwh((-_community_net(day)).clamp(min=0), day)


@_kpi("kWh/day", "-")
def grid_export(day: DayRecord) -> Tensor:
    """Energy that the community gave to the outside, slot by slot"""
    return _kwh(_community_net(day).clamp(min=0), day)


@_kpi("kW", "lower")
def peak_import(day: DayRecord) -> Tensor:
    """Highest mean power of a slot that the community took from outside"""
    return (-_community_net(day)).clamp(min=0).amax(0)


@_kpi("kg/day", "lower")
def carbon(day: DayRecord) -> Tensor:
    """CO2 of the energy taken from outside, at the grid's mean intensity"""
    return grid_import(day) * day.facts.carbon_kg_per_kwh


def _extreme(values: Tensor, day: DayRecord, sign: int) -> Tensor:
    """Highest (sign 1) or lowest (sign -1) of the solved intervals, NaN without any."""
    highest = torch.where(day.solved, sign * values, -torch.inf).amax(0)
    return torch.where(highest.isinf(), torch.nan, sign * highest)


@_kpi("p.u.", "-")
def min_voltage(day: DayRecord) -> Tensor:
    """Lowest voltage of any bus"""
    return _extreme(day.voltage_pu.amin(-1), day, -1)


@_kpi("p.u.", "-")
def max_voltage(day: DayRecord) -> Tensor:
    """Highest voltage of any bus"""
    return _extreme(day.voltage_pu.amax(-1), day, 1)


@_kpi("bus-h/day", "lower")
def voltage_violations(day: DayRecord) -> Tensor:
    """Buses outside the voltage band, times hours"""
    return _kwh(torch.where(day.solved, day.bad_buses, 0.0), day)


@_kpi("branch-h/day", "lower")
def overloads(day: DayRecord) -> Tensor:
    """Lines and transformers above their rating, times hours"""
    return _kwh(torch.where(day.solved, day.bad_branches, 0.0), day)


@_kpi("%", "lower")
def max_line_loading(day: DayRecord) -> Tensor:
    """Highest loading of any line"""
    return _extreme(day.line_percent, day, 1)


@_kpi("%", "lower")
def max_transformer_loading(day: DayRecord) -> Tensor:
    """Highest loading of any transformer"""
    return _extreme(day.trafo_percent, day, 1)


@_kpi("kWh/day", "lower")
def losses(day: DayRecord) -> Tensor:
    """Energy lost in the feeder"""
    return _kwh(torch.where(day.solved, day.losses_kw, 0.0), day)


@_kpi("1/day", "lower")
def unsolved_flows(day: DayRecord) -> Tensor:
    """Intervals without a power flow"""
    return (~day.solved).sum(0).double()


@_kpi("%", "lower")
def unsolved_clearings(day: DayRecord) -> Tensor:
    """Share of the intervals in which the mechanism did not converge"""
    return 100 * (~day.cleared).double().mean(0)


@_kpi("1", "lower")
def clearing_rounds(day: DayRecord) -> Tensor:
    """Rounds that the mechanism took for a clearing, mean over the intervals"""
    return day.rounds.mean(0)


@_kpi("1/day", "lower")
def market_messages(day: DayRecord) -> Tensor:
    """Transactions of the mechanism beyond the orders"""
    return day.messages.sum(0)


@_kpi("1/day", "lower")
def transactions(day: DayRecord) -> Tensor:
    """Transactions that the market needs: orders sent, the mechanism's messages, settlements"""
    return (day.included + day.missed + day.posted).sum(0)


@_kpi("kWh/day", "-")
def traded_energy(day: DayRecord) -> Tensor:
    """Energy sold between seats"""
    return _kwh(day.cleared_kw.clamp(min=0), day)


@_kpi("EUR/kWh", "-")
def mean_price(day: DayRecord) -> Tensor:
    """What sellers received for a traded kWh"""
    revenue = (day.trade * (day.cleared_kw > 0)).sum((0, -1))
    return _share(revenue, traded_energy(day)) / 100


@_kpi("EUR/day", "-")
def operator_surplus(day: DayRecord) -> Tensor:
    """What the market operator keeps; negative where it adds money"""
    return (0 - day.trade).sum((0, -1))


@_kpi("kWh/day", "lower")
def broken_commitments(day: DayRecord) -> Tensor:
    """Energy traded but not delivered or not taken"""
    return _kwh(broken_commitment_kw(day.cleared_kw, day.net_kw), day)


@_kpi("EUR/day", "lower")
def ledger_fees(day: DayRecord) -> Tensor:
    """Fees of all transactions"""
    return (0 - day.fee).sum((0, -1))


@_kpi("kWh/day", "lower")
def ledger_energy(day: DayRecord) -> Tensor:
    """Energy that the ledger used for this market"""
    return day.ledger_kwh.sum(0)


@_kpi("%", "lower")
def ledger_energy_share(day: DayRecord) -> Tensor:
    """Energy that the ledger used over the energy traded"""
    return _share(ledger_energy(day), traded_energy(day))


@_kpi("1/day", "lower")
def validator_messages(day: DayRecord) -> Tensor:
    """Messages among the ledger's validators"""
    return day.ledger_messages.sum(0)


@_kpi("%", "lower")
def missed_orders(day: DayRecord) -> Tensor:
    """Share of the orders sent that were not in a block at gate closure"""
    return _share(day.missed.sum(0), (day.missed + day.included).sum(0))


def _enter_latencies(percent: int) -> None:
    q, of = percent / 100, f"{percent}th percentile"
    confirmation = _enter(f"confirmation_p{percent}", "s", "lower", f"Order to block, {of}")
    confirmation(lambda day: _quantile(day.latency_s, q))
    finality = f"Gate closure to final settlement, {of}"
    _enter(f"finality_p{percent}", "s", "lower", finality)(lambda d: _quantile(d.finality_s, q))


_enter_latencies(50)
_enter_latencies(99)


@_kpi("EUR", "lower")
def locked_money(day: DayRecord) -> Tensor:
    """Money waiting for finality, mean over the day"""
    return day.locked_eur.sum(-1).mean(0)


@_kpi("1/day", "lower")
def reverted_slots(day: DayRecord) -> Tensor:
    """Intervals whose settlement the ledger lost"""
    return day.reverted.sum(0).double()


@_kpi("kWh/day", "lower")
def unserved_ev(day: DayRecord) -> Tensor:
    """Energy that cars missed at departure"""
    return day.unserved_kwh.sum((0, -1))


@_kpi("1/day", "-")
def full_cycles(day: DayRecord) -> Tensor:
    """Energy discharged from stationary batteries over their capacity"""
    stationary = day.facts.battery_kwh > 0
    return (
        _share(_kwh(day.flexible_kw.clamp(min=0) * stationary, day), day.facts.battery_kwh.sum())
        / 100
    )
