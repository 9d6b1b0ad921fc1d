"""Channels: one deposit and one payout on the chain, and any number of trades between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.columns import of_kind, same_for_all, side_by_side
from gridbazaar.ledger_sim.layers.pending import PendingOrders
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import (
    Inclusions,
    Ledger,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
)
from gridbazaar.ledger_sim.random_streams import OfSlot

_DISPUTE_TRANSACTIONS = 3.0  # a state is posted, answered, and paid out


class ChannelsConfig(LayerConfig):
    """Parameters of the channels."""

    carries: Literal["payments", "orders"] = Field(
        description="payments: orders and clearing stay on the chain; orders: state channels that "
        "carry orders, clearing and payments"
    )
    round_trip_s: NonNegative = Field(
        description="between a seat and the market", json_schema_extra={"unit": "s"}
    )
    dispute_probability: float = Field(
        ge=0, le=1, description="that a closing is disputed", json_schema_extra={"unit": "1"}
    )
    challenge_s: NonNegative = Field(
        description="to answer a disputed closing", json_schema_extra={"unit": "s"}
    )


@LAYERS.register("channels")
class Channels(Layer):
    """Every seat opens a channel to the market in the morning and closes it at night

    The opening is sent as the first slot opens; an order in a state channel waits for it. The
    closing is sent as the last slot opens, so that its fee falls into the day; what the last slot
    trades goes into the next day's channel. In a dispute one side posts a state, the other answers
    with the newest one, and the contract pays out after the challenge: that takes gas and time, but
    no payment changes. Openings and closings carry no tip.
    """

    Config = ChannelsConfig

    def __init__(self, inner: Ledger, config: ChannelsConfig) -> None:
        super().__init__(inner)
        self.config = config

    def reset(self, seed: Tensor) -> None:
        """Start a day without channels; `seed` int64 [B]."""
        super().reset(seed)
        self._opened_s: Tensor | None = None
        self._pending = PendingOrders.none(seed.device)

    def _get_parts(self) -> Any:
        return super()._get_parts(), self._opened_s, self._pending

    def _set_parts(self, parts: Any) -> None:
        beneath, self._opened_s, self._pending = parts
        super()._set_parts(beneath)

    def lead_s(self, deadline_s: float) -> float:
        """Return a round trip where orders go through the channels."""
        if self.config.carries == "orders":
            return self.config.round_trip_s
        return super().lead_s(deadline_s)

    @property
    def dispute_gas(self) -> float:
        """Gas that a dispute adds to a closing."""
        measured = (
            gas.channel_dispute_gas()
            + gas.channel_dispute_gas(1.0)
            + gas.channel_finish_gas()
            - gas.channel_close_gas()
        )
        return self.gas(float(measured), _DISPUTE_TRANSACTIONS - 1.0)

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        writing, disputed = self._channel_transactions(transactions)
        last = self._of_day == self.slots_per_day - 1
        if self.config.carries == "orders":
            got = self.inner.step(writing, deadline_s)
            self._note_openings(got, got.earlier)
            result = self._off_chain(transactions, got, deadline_s)
        else:
            both = side_by_side((transactions, writing), self.schedule.order)
            got = result = of_kind(self.inner.step(both, deadline_s), 0, self._seats)
        if not last:
            return result
        late_s = disputed.any(1).to(got.finality_s) * self.config.challenge_s
        return replace(result, finality_s=got.finality_s + late_s, reverted=got.reverted)

    @property
    def _of_day(self) -> int:
        return self.slot % self.slots_per_day

    def _channel_transactions(self, like: Transactions) -> tuple[Transactions, Tensor]:
        """Return what is sent to open or close, and who disputes, bool [B, N]."""
        opening, closing = self._of_day == 0, self._of_day == self.slots_per_day - 1
        disputed = torch.zeros_like(like.sent)
        takes: Tensor | float | None = None
        if opening:
            takes = self.gas(gas.channel_open_gas())
        elif closing:
            seed = randomness.fold(self.seed, self.slot)
            draw = randomness.uniform(seed, OfSlot.DISPUTE, (self._seats,), torch.float64)
            disputed = draw < self.config.dispute_probability
            closed = self.gas(gas.channel_close_gas())
            takes = disputed.to(like.tip) * self.dispute_gas + closed
        return same_for_all(like, opening or closing, 0.0, takes), disputed

    def _note_openings(self, got: Receipts, earlier: Inclusions | None) -> None:
        """Keep when each channel stands open, [B, N] s since the day's start."""
        if self._of_day == 0:
            self._opened_s = got.latency_s.double() + self.slot * self.slot_s
        elif earlier is not None and self._opened_s is not None:
            opens = earlier.slot % self.slots_per_day == 0
            at = earlier.environment[opens], earlier.seat[opens]
            block_s = earlier.block_s[opens].double() + self.slot * self.slot_s
            self._opened_s = self._opened_s.index_put(at, block_s)

    def _off_chain(self, transactions: Transactions, got: Receipts, deadline_s: float) -> Receipts:
        """Return the receipts of orders that go from hand to hand."""
        assert self._opened_s is not None
        start_s = self.slot * self.slot_s
        submitted_s = transactions.submitted_s.double()
        arrival_s = torch.maximum(
            submitted_s + self.config.round_trip_s, self._opened_s - start_s
        ).masked_fill_(~transactions.sent, torch.inf)
        here = arrival_s <= self.slot_s
        earlier, late = self._pending.released(start_s, start_s + self.slot_s, self._opened_s)
        waiting = transactions.sent & ~here
        self._pending = late.with_seats(
            waiting, self.slot, submitted_s + self.config.round_trip_s + start_s
        )
        backlog = torch.bincount(self._pending.environment, minlength=len(waiting))
        latency_s = (arrival_s - submitted_s).masked_fill_(~here, torch.inf)
        return replace(
            got,
            included=arrival_s <= deadline_s,
            latency_s=latency_s.to(transactions.submitted_s.dtype),
            finality_s=torch.full_like(got.finality_s, self.config.round_trip_s),
            reverted=torch.zeros_like(got.reverted),
            base_fee=torch.zeros_like(got.base_fee),
            backlog=got.backlog + backlog,
            earlier=earlier,
        )

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Pay in the channels; clear on the chain where the orders are there."""
        nothing = torch.zeros_like(market.messages)
        if self.config.carries == "orders":
            silent = replace(market, rounds=nothing, messages=nothing, gas=nothing, beside=None)
            talk_s = market.rounds * self.config.round_trip_s
            return replace(self.inner.submit_market(silent), delay_s=talk_s)
        return self.inner.submit_market(replace(market, gas=self.clearing_gas(market)))
