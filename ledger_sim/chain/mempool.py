"""Transactions that no block has taken yet, carried from slot to slot."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.ledger_sim.chain.ranking import by_arrival


@dataclass(frozen=True, slots=True)
class Mempool:
    """What waits, with the longest queue of the batch as width W, in order of arrival.

    Attributes:
        arrival_s: float64 [B, W], seconds since the current slot's start (negative: before it);
            inf in the empty places of shorter queues.
        tip: [B, W], currency.
        seat: int64 [B, W], account that sent it.
        slot: int64 [B, W], slot in which it was sent.
        gas: [B, W], room it takes; None while all take what an order takes.
    """

    arrival_s: Tensor
    tip: Tensor
    seat: Tensor
    slot: Tensor
    gas: Tensor | None = None

    @classmethod
    def empty(cls, batch: int, device: torch.device) -> Mempool:
        """Return a mempool of width 0 for `batch` environments."""
        amounts = torch.empty(batch, 0, dtype=torch.float64, device=device)
        indices = torch.empty(batch, 0, dtype=torch.int64, device=device)
        return cls(amounts, amounts, indices, indices)

    @property
    def width(self) -> int:
        """Length W of the longest queue."""
        return self.arrival_s.shape[1]

    def joined(
        self, arrival_s: Tensor, tip: Tensor, slot: int, gas: Tensor | None, order_gas: float
    ) -> Mempool:
        """Return the mempool with a slot's N new transactions in columns W to W + N - 1."""
        batch, seats = arrival_s.shape
        if gas is None and self.gas is not None:
            gas = torch.full_like(tip, order_gas)
        seat = torch.arange(seats, device=arrival_s.device).expand(batch, seats)
        sent_in = torch.full((1, 1), slot, device=arrival_s.device).expand(batch, seats)
        if not self.width:
            return Mempool(arrival_s, tip, seat, sent_in, gas)
        old_gas = self.gas
        if old_gas is None and gas is not None:
            old_gas = torch.full_like(self.tip, order_gas)
        return Mempool(
            torch.cat([self.arrival_s, arrival_s], dim=1),
            torch.cat([self.tip, tip], dim=1),
            torch.cat([self.seat, seat], dim=1),
            torch.cat([self.slot, sent_in], dim=1),
            None if old_gas is None or gas is None else torch.cat([old_gas, gas], dim=1),
        )

    def carried(self, waiting: Tensor, order: Tensor, slot_s: float) -> Mempool:
        """Return what still waits, seen from the next slot and packed to the left by arrival.

        However long it waits, it keeps its rank among those before it.

        Args:
            waiting: bool [B, W].
            order: int64 [W], the columns in the order in which equal arrivals are served.
            slot_s: seconds by which the next slot starts later.
        """
        if not waiting.any():
            return Mempool.empty(waiting.shape[0], waiting.device)
        by_rank = by_arrival(self.arrival_s, order.to(waiting.device))
        waiting = waiting.gather(1, by_rank)
        row, rank = waiting.nonzero(as_tuple=True)
        place, column = waiting.cumsum(dim=1)[row, rank] - 1, by_rank[row, rank]
        shape = waiting.shape[0], int(place.max()) + 1

        def packed(value: Tensor, filler: float) -> Tensor:
            result = value.new_full(shape, filler)
            result[row, place] = value[row, column]
            return result

        return Mempool(
            packed(self.arrival_s - slot_s, torch.inf),
            packed(self.tip, 0),
            packed(self.seat, 0),
            packed(self.slot, 0),
            None if self.gas is None else packed(self.gas, 0),
        )
