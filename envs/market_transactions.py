"""Market transactions: what the market writes to the ledger after gate closure, and who pays."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.markets import Clearing, Market, Orders
from gridbazaar.envs.proposed import Settled
from gridbazaar.ledger_sim import Ledger, MarketReceipts, MarketTransactions


def submit(
    ledger: Ledger,
    market: Market,
    orders: Orders,
    clearing: Clearing,
    due: Tensor,
    settled: Settled | None = None,
    metered_kwh: Tensor | None = None,
) -> tuple[MarketReceipts, Tensor]:
    """Write messages, clearing and settlement of an interval.

    Args:
        ledger: right after it carried the interval's orders.
        market: the mechanism; one whose seats talk to each other alone writes no messages.
        orders: the book at gate closure.
        clearing: what became of it.
        due: [B] transactions of incentive schemes, for what meters showed an interval before.
        settled: whose clearing it is, where solvers propose it.
        metered_kwh: [B, N] of the last interval, fed in (positive) or taken.

    Returns:
        what the ledger says of it, and the fee of each seat [B, N] EUR: shared alike by the seats
        with an order in the book, for whom the market did its work; by all where there is none
        and something of earlier intervals is due.
    """
    quantity_kw = orders.quantity_kw
    ordered = orders.seats_with(quantity_kw).to(quantity_kw)
    count = (quantity_kw != 0).sum(-1, dtype=quantity_kw.dtype)
    if market.messages_on_ledger:
        messages = clearing.messages.to(quantity_kw) * (count > 0)
    else:
        messages = torch.zeros_like(count)
    receipts = ledger.submit_market(
        MarketTransactions(
            rounds=clearing.iterations * (messages > 0),
            messages=messages + due,
            orders=count,
            traders=orders.seats_with(clearing.cleared_kw).sum(-1, dtype=quantity_kw.dtype),
            contract=market.contract,
            payments=orders.by_seat(clearing.payment_eur).detach(),
            refused=None if settled is None else settled.before.to(quantity_kw),
            metered_kwh=metered_kwh,
        )
    )
    payers = ordered.masked_fill((count == 0).unsqueeze(-1), 1.0)
    share = receipts.fee.to(quantity_kw).unsqueeze(-1) / payers.sum(-1, keepdim=True)
    return receipts, payers * share
