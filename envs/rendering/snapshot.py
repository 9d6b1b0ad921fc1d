"""One interval of one market as plain numbers: what a picture of it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.grid.flow_direction import FlowDirection
from gridbazaar.envs.grid.limits import (
    LOADING_TOLERANCE_PERCENT,
    VOLTAGE_TOLERANCE_PU,
    violations,
)
from gridbazaar.envs.interval import Interval
from gridbazaar.envs.simulation import Simulation

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Snapshot:
    """What happened in an interval: N seats with up to K devices, M orders, n nodes, b branches.

    Attributes:
        day: number of the day in the data, from 0.
        t: number of the interval in the day, from 0.
        retail, feed_in: EUR/kWh.
        price: the market's, EUR/kWh; NaN without a trade.
        volume_kw: traded.
        order_kw: [M] positive offers to sell, negative to buy, zero is no order.
        limit_price: [M] EUR/kWh.
        pv_kw, load_kw: of all seats together.
        battery_kw: of all batteries, positive where they give.
        taken_kw: by all other devices, positive.
        net_kw: [N] at the meters, positive exported.
        charge: [N, K] state of charge at the end, a share; NaN where there is no device, or no car.
        voltage_pu: [n], NaN at nodes without a bus of the net.
        bad_nodes: [n] outside their band.
        loading_percent: [b].
        direction: [b] 1 where power enters a branch at its first end, -1 at its second.
        bad_branches: [b] beyond their rating.
        solved: whether the power flow converged; without, voltages and loadings mean nothing.
        grid_kw: what the external grids give.
        sent: [N] seats that sent orders.
        included: [N] seats whose orders were in a block in time.
        late: [N] seats whose orders came into a block after gate closure.
        block_s: when the last block in time came, in seconds after the book opened; NaN without.
        base_fee: of a transaction, before tips.
        finality_s: from gate closure until all of it is final.
        backlog: transactions that still wait.
        reverted: whether the ledger lost the interval.
    """

    day: int
    t: int
    retail: float
    feed_in: float
    price: float
    volume_kw: float
    order_kw: Floats
    limit_price: Floats
    pv_kw: float
    load_kw: float
    battery_kw: float
    taken_kw: float
    net_kw: Floats
    charge: Floats
    voltage_pu: Floats
    bad_nodes: Flags
    loading_percent: Floats
    direction: Floats
    bad_branches: Flags
    solved: bool
    grid_kw: float
    sent: Flags
    included: Flags
    late: Flags
    block_s: float
    base_fee: float
    finality_s: float
    backlog: int
    reverted: bool


class Photographer:
    """Takes snapshots of a simulation's intervals; it changes nothing there.

    Args:
        simulation: that plays.
        market: which of its markets.
    """

    def __init__(self, simulation: Simulation, market: int = 0):
        feeder = simulation.delivery.feeder
        self._simulation, self._market = simulation, market
        self._nodes = feeder.network.ybus.shape[0]
        self._node_of_bus = feeder.network.bus_node
        self._direction = FlowDirection(feeder.network, np.asarray(feeder.injection_buses))

    def __call__(self, interval: Interval) -> Snapshot:
        """Return the snapshot of the interval that was just played."""
        simulation = self._simulation
        day = int(simulation.first_slot[self._market]) // simulation.slots
        return Snapshot(
            day=day,
            t=simulation.t - 1,
            **self._market_part(interval),
            **self._seats_part(interval),
            **self._feeder_part(interval),
            **self._ledger_part(interval),
        )

    def _numbers(self, values: Tensor) -> Floats:
        """Return one market's row of [B, ...]."""
        return np.asarray(values[self._market].detach().cpu().numpy(), np.float64)

    def _flags(self, values: Tensor) -> Flags:
        return np.asarray(values[self._market].cpu().numpy(), np.bool_)

    def _one(self, values: Tensor) -> float:
        """Return one market's number of [B] or [B, 1]."""
        return float(values[self._market])

    def _market_part(self, interval: Interval) -> dict[str, Any]:
        clearing, orders = interval.clearing, interval.orders
        return {
            "retail": self._one(interval.tariff.retail),
            "feed_in": self._one(interval.tariff.feed_in),
            "price": self._one(clearing.reference_price),
            "volume_kw": self._one(clearing.volume_kw),
            "order_kw": self._numbers(orders.quantity_kw),
            "limit_price": self._numbers(orders.limit_price),
        }

    def _seats_part(self, interval: Interval) -> dict[str, Any]:
        simulation, delivered = self._simulation, interval.delivered
        fleet, layout = simulation.fleet, simulation.game.layout
        power = {kind: self._numbers(kw).sum() for kind, kw in interval.device_kw.items()}
        battery = sum(kw for kind, kw in power.items() if fleet.kinds[kind].battery)
        charge = layout.read_each(interval.observation, "soc")
        # A store without content and without room is none: the car has left.
        held = layout.read_each(interval.observation, "energy_kwh")
        room = layout.read_each(interval.observation, "room_kwh")
        there = (fleet.rated_kw > 0) & (held + room > 0)
        return {
            "pv_kw": self._numbers(delivered.pv_kw).sum(),
            "load_kw": self._numbers(interval.load_kw).sum(),
            "battery_kw": battery,
            "taken_kw": battery - sum(power.values()),
            "net_kw": self._numbers(delivered.net_kw),
            "charge": self._numbers(charge.where(there, torch.nan)),
        }

    def _feeder_part(self, interval: Interval) -> dict[str, Any]:
        solution = interval.delivered.solution
        broken = violations(solution, self._simulation.delivery.limits)
        volts = (broken.under_pu + broken.over_pu) > VOLTAGE_TOLERANCE_PU
        loads = torch.cat([broken.line_percent, broken.trafo_percent], -1)
        voltage, bad = np.full(self._nodes, np.nan), np.zeros(self._nodes, np.bool_)
        voltage[self._node_of_bus] = self._numbers(solution.vm_pu)
        bad[self._node_of_bus] = self._flags(volts)
        v = solution.v[self._market].detach().cpu().numpy().astype(np.complex128)
        return {
            "voltage_pu": voltage,
            "bad_nodes": bad,
            "loading_percent": np.concatenate(
                [
                    self._numbers(solution.line_loading_percent),
                    self._numbers(solution.trafo_loading_percent),
                ]
            ),
            "direction": self._direction(v),
            "bad_branches": self._flags(loads > LOADING_TOLERANCE_PERCENT),
            "solved": bool(solution.converged[self._market]),
            "grid_kw": self._one(solution.slack_kw),
        }

    def _ledger_part(self, interval: Interval) -> dict[str, Any]:
        receipts = interval.receipts
        sent = self._flags(interval.sent_kw != 0)
        owners = interval.orders.owners
        if owners is not None:
            sent = np.bincount(owners.seat.cpu().numpy(), sent, owners.seats) > 0
        included = self._flags(receipts.included)
        latency_s = self._numbers(receipts.latency_s)
        block_s = self._simulation.submission_s + latency_s[included]
        return {
            "sent": sent,
            "included": included,
            "late": np.isfinite(latency_s) & ~included & sent,
            "block_s": float(block_s.max()) if len(block_s) else np.nan,
            "base_fee": self._one(receipts.base_fee),
            "finality_s": self._one(interval.finality_s),
            "backlog": int(self._one(receipts.backlog)),
            "reverted": bool(receipts.reverted[self._market]),
        }
