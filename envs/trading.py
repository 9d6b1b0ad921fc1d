"""Trading: the orders' way through the ledger, their clearing, and what the market writes of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.market_transactions import submit
from gridbazaar.envs.markets import Clearing, Context, Market, Orders
from gridbazaar.envs.proposed import Settled, settle_one
from gridbazaar.envs.smoothing import smoothed_auction
from gridbazaar.envs.submission import least_order_kw, orders_of, send_orders, shuffled
from gridbazaar.envs.supply_curve import OrderSlots, Pieces, SupplyCurve
from gridbazaar.ledger_sim import Ledger, MarketReceipts, Receipts
from gridbazaar.ledger_sim.proposals import proposals_of


@dataclass(frozen=True)
class Book:
    """Orders of an interval at gate closure.

    Attributes:
        sent_kw: [B, M] that were sent, late ones as well.
        orders: those that came in time.
        receipts: what the ledger did with them.
    """

    sent_kw: Tensor
    orders: Orders
    receipts: Receipts


@dataclass(frozen=True)
class Trades:
    """What became of a book.

    Attributes:
        clearing: that is settled.
        settled: whose clearing it is; None where no dishonest solver proposes one.
        pieces: of the seats' curves, as they cleared.
        cleared_kw: [B, N] sold (positive) and bought on balance.
        payment_eur: [B, N] received (positive) and paid for it.
        receipts: what the ledger did with the market's own transactions.
        fee_eur: [B, N] for the orders, and each seat's share of what the market wrote.
        finality_s: [B] from gate closure until the settlement is final.
    """

    clearing: Clearing
    settled: Settled | None
    pieces: Pieces
    cleared_kw: Tensor
    payment_eur: Tensor
    receipts: MarketReceipts
    fee_eur: Tensor
    finality_s: Tensor


class Trading:
    """A market of B books, and the ledger that carries them.

    Args:
        market: the mechanism.
        ledger: carries orders and settlement.
        rules: of an interval.
        community: seats and devices.

    Attributes:
        slots: places of the seats' orders in the book.
        submission_s: seconds from the book's opening until orders are sent.
    """

    def __init__(self, market: Market, ledger: Ledger, rules: RulesConfig, community: Community):
        self._market, self._ledger = market, ledger
        self._closure_s, self._slot_h = rules.gate_closure_s, community.slot_h
        self.slots = OrderSlots(community.fleet, community.pv_kwp > 0)
        owners = self.slots.owners
        self._must_run = torch.arange(len(owners.seat)) < self.slots.seats
        self._least_kw = owners.of_seat(least_order_kw(community))
        latest_s = self._closure_s - ledger.lead_s(self._closure_s)
        self.submission_s = min(rules.submission_s, max(latest_s, 0.0))

    def send(
        self, curve: SupplyCurve, tip: Tensor, local_charge: Tensor, day_seed: Tensor, t: int
    ) -> Book:
        """Send the pieces of the curves to the ledger; return the book of what came in time.

        Args:
            curve: of the seats.
            tip: [B, N] EUR per transaction.
            local_charge: [B, 1] EUR/kWh on what is bought.
            day_seed: int64 [B] of the day's chances.
            t: slot of the day.
        """
        quantity_kw, limit_price = self.slots.orders(curve, local_charge)
        quantity_kw = orders_of(quantity_kw, self._least_kw)
        orders, receipts = send_orders(
            self._ledger,
            quantity_kw,
            limit_price,
            self.slots.owners,
            tip,
            self.submission_s,
            self._closure_s,
            self._slot_h,
        )
        if self._market.time_priority:
            orders = shuffled(orders, day_seed, t)
        return Book(quantity_kw, orders, receipts)

    def clear(
        self,
        book: Book,
        context: Context,
        due: Tensor,
        metered_kwh: Tensor,
        t: int,
        smoothing: float = 0.0,
    ) -> Trades:
        """Clear a book, and write what came of it to the ledger.

        Args:
            book: right after it was sent.
            context: what the market may know.
            due: [B] transactions of incentive schemes, for what meters showed an interval before.
            metered_kwh: [B, N] of the last interval, fed in (positive) or taken.
            t: slot of the day.
            smoothing: EUR/kWh over which prices are accepted gradually; 0 is the market itself.
        """
        orders = book.orders
        clearing, settled = self._cleared(orders, context, t, smoothing)
        receipts, fee_eur = submit(
            self._ledger, self._market, orders, clearing, due, settled, metered_kwh
        )
        return Trades(
            clearing=clearing,
            settled=settled,
            pieces=self.slots.pieces(clearing.cleared_kw),
            cleared_kw=orders.by_seat(clearing.cleared_kw),
            payment_eur=orders.by_seat(clearing.payment_eur),
            receipts=receipts,
            fee_eur=book.receipts.fee + fee_eur,
            finality_s=book.receipts.finality_s + receipts.delay_s,
        )

    def _cleared(
        self, orders: Orders, context: Context, t: int, smoothing: float
    ) -> tuple[Clearing, Settled | None]:
        """Return the clearing that is settled, and whose it is where solvers propose."""
        if smoothing:
            return smoothed_auction(orders, context, self._must_run, smoothing), None
        own, proposals = self._market.clear(orders, context), proposals_of(self._ledger)
        if proposals is None:
            return own, None
        return settle_one(proposals, self._market, orders, context, own, t)
