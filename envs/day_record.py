"""A whole day of a batch as stacked tensors: what key figures and plots are computed from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.grid.limits import (
    LOADING_TOLERANCE_PERCENT,
    VOLTAGE_TOLERANCE_PU,
    Limits,
    violations,
)
from gridbazaar.envs.interval import Interval


@dataclass(frozen=True)
class Facts:
    """What holds for the whole record.

    Attributes:
        role: [N] index into ROLES.
        seats: name per seat.
        battery_kwh: [N] capacity of stationary batteries.
        slot_h: hours per interval.
        currency: of every amount.
        carbon_kg_per_kwh: of a kWh from the grid.
    """

    role: Tensor
    seats: tuple[str, ...]
    battery_kwh: Tensor
    slot_h: float
    currency: str
    carbon_kg_per_kwh: float

    @classmethod
    def of(cls, community: Community, carbon_kg_per_kwh: float) -> Facts:
        """Take what is needed of a community, on the CPU."""
        return cls(
            community.role.cpu(),
            community.seats,
            community.battery_kwh.double().cpu(),
            community.slot_h,
            community.currency,
            carbon_kg_per_kwh,
        )


@dataclass(frozen=True)
class DayRecord:
    """T intervals of B markets with N seats, on the CPU in float64 (flags in bool).

    Attributes:
        retail, feed_in, local_charge: [T, B] EUR/kWh.
        load_kw, pv_kw, flexible_kw, net_kw: [T, B, N] metered.
        energy_kwh: [T, B, N] stored at the interval's end, before departures.
        unserved_kwh: [T, B, N].
        order_kw, limit_price: [T, B, N] the book at gate closure.
        cleared_kw: [T, B, N] traded; zero where the ledger lost the interval.
        reference_price: [T, B] EUR/kWh, NaN without a trade.
        cleared: [T, B] bool, the mechanism converged.
        rounds: [T, B] that the mechanism took.
        messages: [T, B] transactions of the mechanism beyond the orders.
        trade, grid, network, penalty, fee: [T, B, N] EUR of the bill.
        cost: [T, B, N] EUR, the negative of the reward.
        included: [T, B] orders in time.
        missed: [T, B] orders sent that came too late or still wait.
        latency_s: [T, B, N] from submission to block, inf where there is none in this interval.
        finality_s: [T, B] from gate closure.
        market_transactions: [T, B] transactions that the market itself wrote.
        ledger_messages: [T, B] among the ledger's validators.
        ledger_kwh: [T, B] that the ledger used.
        reverted: [T, B] bool.
        locked_eur: [T, B, N].
        voltage_pu: [T, B, buses].
        bad_buses, bad_branches: [T, B] outside their limits.
        line_percent, trafo_percent: [T, B] highest loading.
        losses_kw, slack_kw: [T, B] of the whole feeder.
        solved: [T, B] bool, the power flow converged.
    """

    facts: Facts
    retail: Tensor
    feed_in: Tensor
    local_charge: Tensor
    load_kw: Tensor
    pv_kw: Tensor
    flexible_kw: Tensor
    net_kw: Tensor
    energy_kwh: Tensor
    unserved_kwh: Tensor
    order_kw: Tensor
    limit_price: Tensor
    cleared_kw: Tensor
    reference_price: Tensor
    cleared: Tensor
    rounds: Tensor
    messages: Tensor
    trade: Tensor
    grid: Tensor
    network: Tensor
    penalty: Tensor
    fee: Tensor
    cost: Tensor
    included: Tensor
    missed: Tensor
    latency_s: Tensor
    finality_s: Tensor
    market_transactions: Tensor
    ledger_messages: Tensor
    ledger_kwh: Tensor
    reverted: Tensor
    locked_eur: Tensor
    voltage_pu: Tensor
    bad_buses: Tensor
    bad_branches: Tensor
    line_percent: Tensor
    trafo_percent: Tensor
    losses_kw: Tensor
    slack_kw: Tensor
    solved: Tensor

    @classmethod
    def of(cls, intervals: Iterable[Interval], facts: Facts, limits: Limits) -> DayRecord:
        """Stack a day's intervals; each is dropped once it was read."""
        rows: dict[str, list[Tensor]] = {}
        backlog: Tensor | float = 0
        for interval in intervals:
            row = _market_row(interval) | _feeder_row(interval, limits)
            row |= _ledger_row(interval, backlog)
            backlog = interval.receipts.backlog
            for name, value in row.items():
                rows.setdefault(name, []).append(value)
        return cls(facts, **{name: _stack(values) for name, values in rows.items()})

    def select(self, market: int) -> DayRecord:
        """Return the record of one market alone, B = 1."""
        one = {
            field.name: getattr(self, field.name)[:, market : market + 1].clone()
            for field in fields(self)
            if field.name != "facts"
        }
        return DayRecord(self.facts, **one)

    @property
    def seat_cost(self) -> Tensor:
        """Cost of the day per seat, [B, N] EUR."""
        return self.cost.sum(0)


def _stack(values: list[Tensor]) -> Tensor:
    stacked = torch.stack(values).cpu()
    return stacked if stacked.dtype is torch.bool else stacked.double()


def _market_row(interval: Interval) -> dict[str, Tensor]:
    tariff, bill, delivered = interval.tariff, interval.bill, interval.delivered
    clearing = interval.clearing
    stands = (~interval.receipts.reverted).unsqueeze(-1)
    return {
        "retail": tariff.retail.squeeze(-1),
        "feed_in": tariff.feed_in.squeeze(-1),
        "local_charge": tariff.local_charge.squeeze(-1),
        "load_kw": interval.load_kw,
        "pv_kw": delivered.pv_kw,
        "flexible_kw": delivered.flexible_kw,
        "net_kw": delivered.net_kw,
        "energy_kwh": interval.energy_kwh,
        "unserved_kwh": interval.unserved_kwh,
        "order_kw": interval.orders.quantity_kw,
        "limit_price": interval.orders.limit_price,
        "cleared_kw": clearing.cleared_kw * stands,
        "reference_price": clearing.reference_price,
        "cleared": clearing.converged,
        "rounds": clearing.iterations,
        "messages": clearing.messages,
        "trade": bill.trade,
        "grid": bill.grid,
        "network": bill.network,
        "penalty": bill.penalty,
        "fee": bill.fee,
        "cost": -interval.reward.total,
    }


def _ledger_row(interval: Interval, backlog: Tensor | float) -> dict[str, Tensor]:
    """Count what came too late; what still waits is the growth of the backlog."""
    receipts = interval.receipts
    late = (receipts.latency_s.isfinite() & ~receipts.included).sum(-1)
    waiting = receipts.backlog - backlog
    if receipts.earlier is not None:
        waiting = waiting + receipts.earlier.environment.bincount(minlength=len(waiting))
    return {
        "included": receipts.included.sum(-1),
        "missed": late + waiting,
        "latency_s": receipts.latency_s,
        "finality_s": interval.finality_s,
        "market_transactions": interval.market_receipts.transactions,
        "ledger_messages": receipts.messages,
        "ledger_kwh": receipts.energy_kwh + interval.market_receipts.energy_kwh,
        "reverted": receipts.reverted,
        "locked_eur": interval.locked_eur,
    }


def _feeder_row(interval: Interval, limits: Limits) -> dict[str, Tensor]:
    solution = interval.delivered.solution
    broken = violations(solution, limits)
    volts = (broken.under_pu + broken.over_pu) > VOLTAGE_TOLERANCE_PU
    branches = torch.cat([broken.line_percent, broken.trafo_percent], -1)
    return {
        "voltage_pu": solution.vm_pu,
        "bad_buses": volts.sum(-1),
        "bad_branches": (branches > LOADING_TOLERANCE_PERCENT).sum(-1),
        "line_percent": _highest(solution.line_loading_percent),
        "trafo_percent": _highest(solution.trafo_loading_percent),
        "losses_kw": solution.losses_kw,
        "slack_kw": solution.slack_kw,
        "solved": solution.converged,
    }


def _highest(loading: Tensor) -> Tensor:
    """Return the highest loading [B]; NaN on a feeder without such branches."""
    return loading.amax(-1) if loading.shape[-1] else loading.new_full(loading.shape[:1], torch.nan)
