"""Submission of orders: through the ledger, before gate closure, into the book."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.markets import Orders, Owners, uncrossed
from gridbazaar.ledger_sim import Ledger, Receipts, Transactions
from gridbazaar.randomness import uniform

_ORDER = 1000
# Below a tenth of a watt, or what float32 loses of a large seat's power, rounding decides an order.
_LEAST_KW = 1e-4
_LEAST_SHARE = 1e-5


def least_order_kw(community: Community) -> Tensor:
    """Return the power below which a seat sends no order, [N] kW.

    It is 0.1 W, or 1e-5 of the most that load, PV and devices of a larger seat move together, so
    that float32 and float64 send the same orders.
    """
    fleet = community.fleet
    imports_kw = community.load_kw.amax(0) + fleet.import_kw
    exports_kw = community.pv_kw.amax(0) + fleet.export_kw
    return (torch.maximum(imports_kw, exports_kw) * _LEAST_SHARE).clamp(min=_LEAST_KW)


def orders_of(quantity_kw: Tensor, least_kw: Tensor) -> Tensor:
    """Return the powers [B, N] kW that seats order: leftovers of rounding are no orders."""
    return quantity_kw.where(quantity_kw.abs() >= least_kw, 0.0)


def send_orders(
    ledger: Ledger,
    quantity_kw: Tensor,
    limit_price: Tensor,
    owners: Owners,
    tip: Tensor,
    submission_s: float,
    gate_closure_s: float,
    slot_h: float,
) -> tuple[Orders, Receipts]:
    """Send the orders to the ledger; return the book of those that came in time.

    Args:
        ledger: carries them.
        quantity_kw: [B, M], zero is no order.
        limit_price: [B, M] EUR/kWh.
        owners: who sends which; a seat sends all its orders in one transaction.
        tip: [B, N] EUR per transaction.
        submission_s: seconds from the book's opening until orders are sent.
        gate_closure_s: the same until the book closes.
        slot_h: hours of the interval that is traded.
    """
    sent = owners.total((quantity_kw != 0).to(quantity_kw)) > 0
    at_most = owners.total((-quantity_kw * limit_price).clamp(min=0) * slot_h).detach()
    transactions = Transactions(sent, torch.full_like(tip, submission_s), tip, amount=at_most)
    receipts = ledger.step(transactions, gate_closure_s)
    in_time_kw = quantity_kw * owners.of_seat(receipts.included)
    arrival_s = owners.of_seat(submission_s + receipts.latency_s)
    return uncrossed(Orders(in_time_kw, limit_price, arrival_s, owners)), receipts


def shuffled(orders: Orders, day_seed: Tensor, t: int) -> Orders:
    """Return the book with seats of the same half second in a drawn sequence.

    Nobody comes first by its number; all orders of a seat come at once.
    """
    arrival_s = orders.arrival_s
    order = uniform(day_seed, _ORDER + t, (orders.seats,), arrival_s.dtype)
    if orders.shared is not None:
        order = orders.shared.of_seat(order)
    return replace(orders, arrival_s=arrival_s + order / 2)
