"""A whole day of a batch as stacked tensors: what key figures and plots are computed from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

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
        roles: of the community.
        role: [N] number among them.
        seats: name per seat.
        homes: name that the data give each seat's home; empty where they give none.
        battery_kwh: [N] capacity of batteries.
        owner: [D] seat of each unit, by kind of device.
        batteries: kinds that only shift energy.
        slot_h: hours per interval.
        currency: of every amount.
        carbon_kg_per_kwh: of a kWh from the grid.
    """

    roles: tuple[str, ...]
    role: Tensor
    seats: tuple[str, ...]
    homes: tuple[str, ...]
    battery_kwh: Tensor
    owner: dict[str, Tensor]
    batteries: tuple[str, ...]
    slot_h: float
    currency: str
    carbon_kg_per_kwh: float

    @classmethod
    def of(cls, community: Community, carbon_kg_per_kwh: float) -> Facts:
        """Take what is needed of a community, on the CPU."""
        fleet = community.fleet
        return cls(
            roles=community.roles,
            role=community.role.cpu(),
            seats=community.seats,
            homes=community.homes,
            battery_kwh=fleet.rating("storage_kwh").sum(-1).double().cpu(),
            owner={kind: device.seat.cpu() for kind, device in fleet.kinds.items()},
            batteries=tuple(kind for kind, device in fleet.kinds.items() if device.battery),
            slot_h=community.slot_h,
            currency=community.currency,
            carbon_kg_per_kwh=carbon_kg_per_kwh,
        )

    def seats_of(self, role: str) -> Tensor:
        """Return which seats [N] have a role."""
        return self.role == (self.roles.index(role) if role in self.roles else -1)


@dataclass(frozen=True)
class DayRecord:
    """T intervals of B markets with N seats, on the CPU in float64 (flags in bool).

    Attributes:
        retail, feed_in, local_charge: [T, B] EUR/kWh.
        load_kw, pv_kw, flexible_kw, net_kw: [T, B, N] metered.
        curtailed_kw: [T, B, N] PV that was not generated.
        energy_kwh: [T, B, N] stored at the interval's end, before departures.
        unserved_kwh: [T, B, N].
        device_kw: [T, B, D] of each kind's units.
        content_kwh: [T, B, D] that each kind's units held at the interval's end.
        order_kw, limit_price: [T, B, M] the book at gate closure.
        filled_kw: [T, B, M] of it; zero where the ledger lost the interval.
        cleared_kw, firmed_kw, pooled_kw, grid_kw: [T, B, N] what seats gave (positive) and took
            through the market, to firm others' deviations, through the pool and the supplier;
            together what the meters show.
        deviation_kw: [T, B, N] meter less position and firming for others.
        reference_price: [T, B] EUR/kWh, NaN without a trade.
        cleared: [T, B] bool, the mechanism converged.
        rounds: [T, B] that the mechanism took.
        messages: [T, B] transactions of the mechanism beyond the orders.
        trade, pool, firming, grid, network, penalty, fee, incentive: [T, B, N] EUR of the bill.
        issued, redeemed, expired, held: [T, B, N] units of each good of the incentive schemes, by
            `scheme.good`; held at the interval's end.
        cost: [T, B, N] EUR, the negative of the reward.
        included: [T, B] orders in time.
        missed: [T, B] orders sent that came too late, still wait or were refused.
        latency_s: [T, B, N] from submission to block, inf where there is none in this interval.
        finality_s: [T, B] from gate closure.
        market_transactions: [T, B] transactions that the market itself wrote.
        refused: [T, B] proposed clearings that were refused.
        stored_bytes, header_bytes: [T, B] that full and lightweight nodes keep.
        ledger_messages: [T, B] among the ledger's validators.
        ledger_kwh: [T, B] that the ledger used.
        reverted: [T, B] bool.
        locked_eur: [T, B, N].
        voltage_pu: [T, B, buses].
        bad_buses, bad_branches: [T, B] outside their limits.
        violation_eur: [T, B] price of the limits broken.
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
    curtailed_kw: Tensor
    energy_kwh: Tensor
    unserved_kwh: Tensor
    device_kw: dict[str, Tensor]
    content_kwh: dict[str, Tensor]
    order_kw: Tensor
    limit_price: Tensor
    filled_kw: Tensor
    cleared_kw: Tensor
    firmed_kw: Tensor
    pooled_kw: Tensor
    grid_kw: Tensor
    deviation_kw: Tensor
    reference_price: Tensor
    cleared: Tensor
    rounds: Tensor
    messages: Tensor
    trade: Tensor
    pool: Tensor
    firming: Tensor
    grid: Tensor
    network: Tensor
    penalty: Tensor
    fee: Tensor
    incentive: Tensor
    issued: dict[str, Tensor]
    redeemed: dict[str, Tensor]
    expired: dict[str, Tensor]
    held: dict[str, Tensor]
    cost: Tensor
    included: Tensor
    missed: Tensor
    latency_s: Tensor
    finality_s: Tensor
    market_transactions: Tensor
    refused: Tensor
    stored_bytes: Tensor
    header_bytes: Tensor
    ledger_messages: Tensor
    ledger_kwh: Tensor
    reverted: Tensor
    locked_eur: Tensor
    voltage_pu: Tensor
    bad_buses: Tensor
    bad_branches: Tensor
    violation_eur: Tensor
    line_percent: Tensor
    trafo_percent: Tensor
    losses_kw: Tensor
    slack_kw: Tensor
    solved: Tensor

    @classmethod
    def of(cls, intervals: Iterable[Interval], facts: Facts, limits: Limits) -> DayRecord:
        """Stack a day's intervals; each is dropped once it was read."""
        rows: dict[str, list[Any]] = {}
        for interval in intervals:
            row = _market_row(interval) | _feeder_row(interval, limits)
            row |= _ledger_row(interval) | _goods_row(interval)
            for name, value in row.items():
                rows.setdefault(name, []).append(value)
        return cls(facts, **{name: _stack(values) for name, values in rows.items()})

    def select(self, *markets: int) -> DayRecord:
        """Return the record of some markets, side by side in that order."""

        def pick(value: Any) -> Any:
            if isinstance(value, dict):
                return {kind: pick(part) for kind, part in value.items()}
            return value[:, list(markets)]

        one = {f.name: pick(getattr(self, f.name)) for f in fields(self) if f.name != "facts"}
        return DayRecord(self.facts, **one)

    def by_seat(self, values: dict[str, Tensor], kinds: Iterable[str]) -> Tensor:
        """Return what each seat's units of some kinds add up to, [T, B, N], from [T, B, D]."""
        total = torch.zeros_like(self.load_kw)
        for kind in kinds:
            total = total.index_add(-1, self.facts.owner[kind], values[kind])
        return total

    @property
    def battery_kw(self) -> Tensor:
        """Power of the batteries, [T, B, N]."""
        return self.by_seat(self.device_kw, self.facts.batteries)

    @property
    def consumer_kw(self) -> Tensor:
        """Power of all devices that are no batteries, [T, B, N]; negative where they take."""
        kinds = self.device_kw.keys() - set(self.facts.batteries)
        return self.by_seat(self.device_kw, sorted(kinds))

    @property
    def own_use_kw(self) -> Tensor:
        """Power that a seat's PV and devices gave to its load and devices, [T, B, N]."""
        given = {kind: power.clamp(min=0) for kind, power in self.device_kw.items()}
        supply = self.pv_kw + self.by_seat(given, given)
        return torch.minimum(supply, supply - self.net_kw)

    @property
    def seat_cost(self) -> Tensor:
        """Cost of the day per seat, [B, N] EUR."""
        return self.cost.sum(0)


def _stack(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {kind: _stack([value[kind] for value in values]) for kind in values[0]}
    stacked = torch.stack(values).cpu()
    return stacked if stacked.dtype is torch.bool else stacked.double()


def _market_row(interval: Interval) -> dict[str, Any]:
    tariff, bill, delivered = interval.tariff, interval.bill, interval.delivered
    clearing, traded = interval.clearing, interval.traded
    stands = (~interval.receipts.reverted).unsqueeze(-1)
    return {
        "retail": tariff.retail.squeeze(-1),
        "feed_in": tariff.feed_in.squeeze(-1),
        "local_charge": tariff.local_charge.squeeze(-1),
        "load_kw": interval.load_kw,
        "pv_kw": delivered.pv_kw,
        "flexible_kw": delivered.flexible_kw,
        "net_kw": delivered.net_kw,
        "curtailed_kw": interval.curtailed_kw,
        "energy_kwh": interval.energy_kwh,
        "unserved_kwh": interval.unserved_kwh,
        "device_kw": interval.device_kw,
        "content_kwh": interval.content_kwh,
        "order_kw": interval.orders.quantity_kw,
        "limit_price": interval.orders.limit_price,
        "filled_kw": clearing.cleared_kw * stands,
        "cleared_kw": traded.cleared_kw,
        "firmed_kw": traded.firmed_kw,
        "pooled_kw": traded.net_kw - traded.cleared_kw - traded.firmed_kw - bill.grid_kw,
        "grid_kw": bill.grid_kw,
        "deviation_kw": traded.deviation_kw,
        "reference_price": clearing.reference_price,
        "cleared": clearing.converged,
        "rounds": clearing.iterations,
        "messages": clearing.messages,
        "trade": bill.trade,
        "pool": bill.pool,
        "firming": bill.firming,
        "grid": bill.grid,
        "network": bill.network,
        "penalty": bill.penalty,
        "fee": bill.fee,
        "incentive": bill.incentive,
        "cost": -interval.reward.total,
    }


def _ledger_row(interval: Interval) -> dict[str, Tensor]:
    receipts = interval.receipts
    sent = interval.orders.seats_with(interval.sent_kw)
    return {
        "included": receipts.included.sum(-1),
        "missed": (sent & ~receipts.included).sum(-1),
        "latency_s": receipts.latency_s,
        "finality_s": interval.finality_s,
        "market_transactions": interval.market_receipts.transactions,
        "refused": torch.zeros_like(receipts.backlog)
        if interval.settled is None
        else interval.settled.before,
        "stored_bytes": _kept(receipts.stored_bytes, interval)
        + _kept(interval.market_receipts.stored_bytes, interval),
        "header_bytes": _kept(receipts.header_bytes, interval),
        "ledger_messages": receipts.messages,
        "ledger_kwh": receipts.energy_kwh + interval.market_receipts.energy_kwh,
        "reverted": receipts.reverted,
        "locked_eur": interval.locked_eur,
    }


def _goods_row(interval: Interval) -> dict[str, dict[str, Tensor]]:
    rewarded = interval.rewarded
    if rewarded is None:
        return {"issued": {}, "redeemed": {}, "expired": {}, "held": {}}
    moved = rewarded.movements.items()
    return {
        "issued": {good: movement.issued for good, movement in moved},
        "redeemed": {good: movement.redeemed for good, movement in moved},
        "expired": {good: movement.expired for good, movement in moved},
        "held": rewarded.held,
    }


def _kept(stored: Tensor | None, interval: Interval) -> Tensor:
    """Return the bytes [B] that were stored; 0 on a ledger that keeps nothing."""
    return torch.zeros_like(interval.receipts.messages) if stored is None else stored


def _feeder_row(interval: Interval, limits: Limits) -> dict[str, Tensor]:
    solution = interval.delivered.solution
    broken = violations(solution, limits)
    volts = (broken.under_pu + broken.over_pu) > VOLTAGE_TOLERANCE_PU
    branches = torch.cat([broken.line_percent, broken.trafo_percent], -1)
    return {
        "voltage_pu": solution.vm_pu,
        "bad_buses": volts.sum(-1),
        "bad_branches": (branches > LOADING_TOLERANCE_PERCENT).sum(-1),
        "violation_eur": interval.delivered.violation_eur,
        "line_percent": _highest(solution.line_loading_percent),
        "trafo_percent": _highest(solution.trafo_loading_percent),
        "losses_kw": solution.losses_kw,
        "slack_kw": solution.slack_kw,
        "solved": solution.converged,
    }


def _highest(loading: Tensor) -> Tensor:
    """Return the highest loading [B]; NaN on a feeder without such branches."""
    return loading.amax(-1) if loading.shape[-1] else loading.new_full(loading.shape[:1], torch.nan)
