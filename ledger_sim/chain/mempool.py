"""Mempool: transactions that no block has taken yet, carried from slot to slot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gridbazaar.ledger_sim.chain.ranking import by_arrival


@dataclass(frozen=True, slots=True)
class Mempool:
    """Waiting transactions, with the longest queue of the batch as width W, in order of arrival.

    Attributes:
        arrival_s: float64 [B, W], seconds since the current slot's start (negative: before it);
            inf in the empty places of shorter queues.
        tip: [B, W], currency.
        seat: int64 [B, W], account that sent it.
        slot: int64 [B, W], slot in which it was sent.
        order_gas: room that an order takes.
        gas: [B, W], room that each takes; None while all take what an order takes.
    """

    arrival_s: Tensor
    tip: Tensor
    seat: Tensor
    slot: Tensor
    order_gas: float
    gas: Tensor | None = None

    @classmethod
    def empty(cls, batch: int, device: torch.device, order_gas: float) -> Mempool:
        """Return a mempool of width 0 for `batch` environments."""
        amounts = torch.empty(batch, 0, dtype=torch.float64, device=device)
        indices = torch.empty(batch, 0, dtype=torch.int64, device=device)
        return cls(amounts, amounts, indices, indices, order_gas)

    @property
    def width(self) -> int:
        """Length W of the longest queue."""
        return self.arrival_s.shape[1]

    def joined(self, arrival_s: Tensor, tip: Tensor, slot: int, gas: Tensor | None) -> Mempool:
        """Return the mempool with a slot's N new transactions in columns W to W + N - 1."""
        batch, seats = arrival_s.shape
        if gas is None and self.gas is not None:
            gas = torch.full_like(tip, self.order_gas)
        seat = torch.arange(seats, device=arrival_s.device).expand(batch, seats)
        sent_in = torch.full((1, 1), slot, device=arrival_s.device).expand(batch, seats)
        if not self.width:
            return Mempool(arrival_s, tip, seat, sent_in, self.order_gas, gas)
        old_gas = self.gas
        if old_gas is None and gas is not None:
            old_gas = self._all_gas()
        return Mempool(
            torch.cat([self.arrival_s, arrival_s], dim=1),
            torch.cat([self.tip, tip], dim=1),
            torch.cat([self.seat, seat], dim=1),
            torch.cat([self.slot, sent_in], dim=1),
            self.order_gas,
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
            return Mempool.empty(waiting.shape[0], waiting.device, self.order_gas)
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
            self.order_gas,
            None if self.gas is None else packed(self.gas, 0),
        )

    def pick_rows(self, rows: Tensor) -> Mempool:
        """Return the queues of some environments, int64 [R], as wide as the longest of them."""
        width = int((self.arrival_s[rows] < torch.inf).sum(dim=1).amax()) if len(rows) else 0
        if not width:
            return Mempool.empty(len(rows), self.arrival_s.device, self.order_gas)
        return self._each(lambda value, _: value[rows, :width])

    def replace_rows(self, rows: Tensor, other: Mempool) -> Mempool:
        """Return the queues with those of some environments, int64 [R], replaced by another's."""
        kept = self.arrival_s.index_fill(0, rows, torch.inf)
        width = max(int((kept < torch.inf).sum(dim=1).amax()) if len(kept) else 0, other.width)
        if not width:
            return Mempool.empty(len(kept), kept.device, self.order_gas)
        own, new = self, other
        if self.gas is None and other.gas is not None:
            own = replace(self, gas=self._all_gas())
        elif self.gas is not None and other.gas is None:
            new = replace(other, gas=other._all_gas())
        like = new if not own.width else own  # of an empty one, dtypes say nothing
        own, new = own._padded(width, like), new._padded(width, like)
        return own._each(lambda value, name: value.index_copy(0, rows, getattr(new, name)))

    def _all_gas(self) -> Tensor:
        """Return what each takes, [B, W], where all take what an order takes."""
        return torch.full_like(self.tip, self.order_gas)

    def _padded(self, width: int, like: Mempool) -> Mempool:
        """Return queues of one width, cut or with empty places, in the dtypes of another's."""

        def padded(value: Tensor, name: str) -> Tensor:
            filler = torch.inf if name == "arrival_s" else 0
            result = getattr(like, name).new_full((len(value), width), filler)
            result[:, : self.width] = value[:, :width]
            return result

        return self._each(padded)

    def _each(self, change: Callable[[Tensor, str], Tensor]) -> Mempool:
        """Return the mempool with every tensor changed; `change` is also told its name."""
        return Mempool(
            change(self.arrival_s, "arrival_s"),
            change(self.tip, "tip"),
            change(self.seat, "seat"),
            change(self.slot, "slot"),
            self.order_gas,
            None if self.gas is None else change(self.gas, "gas"),
        )
