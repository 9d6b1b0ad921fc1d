"""Submission of orders: through the ledger, before gate closure, into the book."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gridbazaar.envs.action import Decision
from gridbazaar.envs.markets import Orders
from gridbazaar.ledger_sim import Ledger, Receipts, Transactions
from gridbazaar.randomness import uniform

_ORDER = 1000


def send_orders(
    ledger: Ledger,
    decision: Decision,
    quantity_kw: Tensor,
    submission_s: float,
    gate_closure_s: float,
) -> tuple[Orders, Receipts]:
    """Send the orders to the ledger; return the book of those that came in time.

    Args:
        ledger: carries them.
        decision: limit prices and fees.
        quantity_kw: [B, N], zero is no order.
        submission_s: seconds from the book's opening until orders are sent.
        gate_closure_s: the same until the book closes.
    """
    sent = quantity_kw != 0
    transactions = Transactions(sent, torch.full_like(quantity_kw, submission_s), decision.tip)
    receipts = ledger.step(transactions, gate_closure_s)
    in_time_kw = quantity_kw * receipts.included
    arrival_s = submission_s + receipts.latency_s
    return Orders(in_time_kw, decision.limit_price, arrival_s), receipts


def shuffled(orders: Orders, day_seed: Tensor, t: int) -> Orders:
    """Return the book with seats of the same half second in a drawn sequence.

    Nobody comes first by its number; all orders of a seat come at once.
    """
    arrival_s = orders.arrival_s
    order = uniform(day_seed, _ORDER + t, (orders.seats,), arrival_s.dtype)
    if orders.shared is not None:
        order = orders.shared.of_seat(order)
    return replace(orders, arrival_s=arrival_s + order / 2)
