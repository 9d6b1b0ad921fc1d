"""Submission of orders: through the ledger, before gate closure, into the book."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.markets import Orders
from gridbazaar.envs.supply_curve import OrderSlots
from gridbazaar.ledger_sim import Ledger, Receipts, Transactions
from gridbazaar.randomness import uniform

_ORDER = 1000


def send_orders(
    ledger: Ledger,
    quantity_kw: Tensor,
    limit_price: Tensor,
    slots: OrderSlots,
    tip: Tensor,
    submission_s: float,
    gate_closure_s: float,
) -> tuple[Orders, Receipts]:
    """Send the orders to the ledger; return the book of those that came in time.

    Args:
        ledger: carries them.
        quantity_kw: [B, M], zero is no order.
        limit_price: [B, M] EUR/kWh.
        slots: who sends which; a seat sends all its orders in one transaction.
        tip: [B, N] EUR per transaction.
        submission_s: seconds from the book's opening until orders are sent.
        gate_closure_s: the same until the book closes.
    """
    sent = slots.seat_sums((quantity_kw != 0).to(quantity_kw)) > 0
    transactions = Transactions(sent, torch.full_like(tip, submission_s), tip)
    receipts = ledger.step(transactions, gate_closure_s)
    in_time_kw = quantity_kw * receipts.included[:, slots.seat]
    arrival_s = (submission_s + receipts.latency_s)[:, slots.seat]
    return Orders(in_time_kw, limit_price, arrival_s), receipts


def shuffled(orders: Orders, day_seed: Tensor, t: int) -> Orders:
    """Return the book with orders of the same half second in a drawn sequence.

    Nobody comes first by its number.
    """
    arrival_s = orders.arrival_s
    order = uniform(day_seed, _ORDER + t, arrival_s.shape[1:], arrival_s.dtype)
    return Orders(orders.quantity_kw, orders.limit_price, arrival_s + order / 2)
