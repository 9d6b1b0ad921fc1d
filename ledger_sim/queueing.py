"""Which block each transaction comes into, for whole batches of queues at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Number = TypeVar("Number", Tensor, float)

# Blocks that fall on a slot's edge, a deadline or an arrival count as meeting it despite rounding.
_EDGE = 1e-6
# Beyond this, a table of all blocks costs more than the sort that it may spare.
_COUNTED_BLOCKS_PER_TRANSACTION = 8


@dataclass(frozen=True, slots=True)
class SlotBlocks:
    """The blocks of one slot, numbered from 0 by time; times in seconds since the slot's start.

    Attributes:
        first_s: time of block 0, after the slot's start.
        interval_s: time between blocks.
        count: blocks up to and including the slot's end; 0 if the interval outlasts the slot.
        closing: how many of them come no later than the deadline.
    """

    first_s: float
    interval_s: float
    count: int
    closing: int

    def time_s(self, block: Number) -> Number:
        """Return the time of a block, or of a tensor of blocks, in s since the slot's start."""
        return block * self.interval_s + self.first_s

    def earliest(self, arrival_s: Tensor) -> Tensor:
        """Return the first block at or after each arrival, as float; inf stays inf."""
        after_first = (arrival_s - (self.first_s + _EDGE * self.interval_s)) / self.interval_s
        return after_first.ceil_().clamp_(min=0)


def slot_blocks(slot: int, slot_s: float, interval_s: float, deadline_s: float) -> SlotBlocks:
    """Return the blocks of slot number `slot` on a chain with a block at every multiple of T > 0.

    An interval that does not divide the slot goes on across its edge.
    """
    start_s = slot * slot_s
    first = math.floor(start_s / interval_s + _EDGE) + 1
    last = math.floor((start_s + slot_s) / interval_s + _EDGE)
    first_s = first * interval_s - start_s
    count = last - first + 1
    by_deadline = math.floor((deadline_s - first_s) / interval_s + _EDGE) + 1
    return SlotBlocks(first_s, interval_s, count, closing=min(max(by_deadline, 0), count))


def tie_order(waiting: int, seats: int, turn: int) -> Tensor:
    """Return int64 [waiting + seats]: the columns in the order in which equal claims are served.

    Earlier slots' transactions go first, then the new ones from seat `turn` modulo `seats` on. With
    the slot's number as turn, no seat gains.
    """
    new = torch.arange(waiting, waiting + seats).roll(-turn)
    return torch.cat([torch.arange(waiting), new])


def assign_blocks(
    arrival_s: Tensor, tip: Tensor | None, order: Tensor, capacity: float, blocks: SlotBlocks
) -> Tensor:
    """Serve each environment's queue: every block takes the first of those that have arrived.

    Args:
        arrival_s: float64 [B, M], seconds since the slot's start; inf where there is none.
        tip: [B, M], highest first and then by arrival; or None for arrival alone.
        order: int64 [M], the columns in the order in which equal claims are served.
        capacity: places per block; a fraction adds up from block to block. May be inf.
        blocks: the slot's blocks.

    Returns:
        float64 [B, M], number of the block; any number from `blocks.count` up, inf included, means
        not in this slot.
    """
    earliest = blocks.earliest(arrival_s)
    if _nobody_waits(earliest, capacity, blocks.count):
        return earliest
    order = order.to(arrival_s.device)
    arrival_s, rank = arrival_s[:, order].sort(dim=1, stable=True)
    earliest = blocks.earliest(arrival_s)
    column = order[rank]
    served = _first_come(earliest, capacity)
    if tip is not None:
        delayed = (served > earliest) & (earliest < blocks.count)
        contested = delayed.any(dim=1).nonzero().squeeze(1)
        if contested.numel():
            queue = earliest[contested], served[contested], tip.gather(1, column)[contested]
            served[contested] = _highest_tip(*queue, capacity, blocks.count)
    return torch.empty_like(served).scatter_(1, column, served)


def _nobody_waits(earliest: Tensor, capacity: float, count: int) -> bool:
    """Tell cheaply, where it can be, that no block has more arrivals than places.

    False may also mean that the slot has too many blocks to count the arrivals in each.
    """
    batch, columns = earliest.shape
    places = math.floor(min(capacity, columns))
    if columns <= places or count == 0:
        return True
    if count > _COUNTED_BLOCKS_PER_TRANSACTION * columns:
        return False
    arrivals = torch.zeros(batch, count + 1, device=earliest.device)
    arrivals.scatter_add_(
        1, earliest.clamp(max=count).long(), arrivals.new_ones(1, 1).expand_as(earliest)
    )
    return bool((arrivals[:, :count] <= places).all())


def _first_come(earliest: Tensor, capacity: float) -> Tensor:
    """Serve columns from left to right; `earliest` [B, M] rises along them.

    Places are numbered through all blocks: block k holds floor(k c) to floor((k + 1) c) - 1. A
    transaction takes the place after its predecessor's, or its own first block's first place: a
    running maximum once the predecessors are counted off.
    """
    predecessors = torch.arange(earliest.shape[1], dtype=earliest.dtype, device=earliest.device)
    place = (earliest * capacity + _EDGE).floor_()
    place = place.sub_(predecessors).cummax(dim=1).values.add_(predecessors)
    return place.add_(1).div_(capacity).sub_(_EDGE).ceil_().sub_(1)


def _highest_tip(
    earliest: Tensor, first_come: Tensor, tip: Tensor, capacity: float, count: int
) -> Tensor:
    """Serve by tip in those blocks alone in which somebody has to wait.

    How many wait after each block does not depend on who is served first, so that the
    first-come assignment tells which blocks these are.

    Args:
        earliest: float64 [B, M], first block after arrival; columns in order of arrival.
        first_come: float64 [B, M], block if served in order of arrival.
        tip: [B, M].
        capacity: places per block.
        count: blocks of the slot, at least 1.

    Returns:
        float64 [B, M] as `assign_blocks`, columns as given.
    """
    start = earliest.clamp(max=count).long()
    end = first_come.clamp(max=count - 1).long() + 1
    delayed = (first_come > earliest) & (earliest < count)
    change = torch.zeros(count + 1, dtype=torch.int64, device=earliest.device)
    change += torch.bincount(start[delayed], minlength=count + 1)
    change -= torch.bincount(end[delayed], minlength=count + 1)
    busy = change.cumsum(0) > 0

    by_tip = tip.argsort(dim=1, descending=True, stable=True)
    start = start.gather(1, by_tip)
    queued = busy[start]
    served = earliest.gather(1, by_tip).masked_fill_(queued, torch.inf)
    never = count + 1
    waiting = start.int().masked_fill_(~queued, never)
    for block in busy.nonzero().squeeze(1).tolist():
        places = math.floor((block + 1) * capacity + _EDGE) - math.floor(block * capacity + _EDGE)
        present = waiting <= block
        taken = present & (present.cumsum(dim=1, dtype=torch.int32) <= places)
        served.masked_fill_(taken, block)
        waiting.masked_fill_(taken, never)
    return torch.empty_like(served).scatter_(1, by_tip, served)
