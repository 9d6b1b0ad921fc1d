"""Assignment of transactions to blocks, for whole batches of queues at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gridbazaar.ledger_sim.chain.ranking import by_arrival, by_tip
from gridbazaar.ledger_sim.consensus.block_times import EDGE, Blocks

# Beyond this, a table of all blocks costs more than the sort that it may spare.
_COUNTED_BLOCKS_PER_TRANSACTION = 8


def tie_order(waiting: int, seats: int, turn: int) -> Tensor:
    """Return int64 [waiting + seats]: the columns in the order in which equal claims are served.

    Earlier slots' transactions go first, then the new ones from seat `turn` modulo `seats` on. With
    the slot's number as turn, no seat gains.
    """
    new = torch.arange(waiting, waiting + seats).roll(-turn)
    return torch.cat([torch.arange(waiting), new])


def places_of(block: int, capacity: float) -> int:
    """Return the places of a slot's block; a finite capacity adds up from block to block."""
    return math.floor((block + 1) * capacity + EDGE) - math.floor(block * capacity + EDGE)


def assign_blocks(
    arrival_s: Tensor, tip: Tensor | None, order: Tensor, capacity: float, blocks: Blocks
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
    column = by_arrival(arrival_s, order.to(arrival_s.device))
    earliest = earliest.gather(1, column)
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
    place = (earliest * capacity + EDGE).floor_()
    place = place.sub_(predecessors).cummax(dim=1).values.add_(predecessors)
    return place.add_(1).div_(capacity).sub_(EDGE).ceil_().sub_(1)


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

    ranked = by_tip(tip)
    start = start.gather(1, ranked)
    queued = busy[start]
    served = earliest.gather(1, ranked).masked_fill_(queued, torch.inf)
    never = count + 1
    waiting = start.int().masked_fill_(~queued, never)
    for block in busy.nonzero().squeeze(1).tolist():
        present = waiting <= block
        taken = present & (present.cumsum(dim=1, dtype=torch.int32) <= places_of(block, capacity))
        served.masked_fill_(taken, block)
        waiting.masked_fill_(taken, never)
    return torch.empty_like(served).scatter_(1, ranked, served)


def assign_by_gas(
    arrival_s: Tensor,
    tip: Tensor | None,
    gas: Tensor,
    order: Tensor,
    room: Callable[[int], float],
    blocks: Blocks,
) -> Tensor:
    """Serve each environment's queue where transactions take different room.

    A block takes from the front of the queue until the next does not fit; that one waits, and
    nobody passes it.

    Args:
        arrival_s, tip, order, blocks: as for `assign_blocks`.
        gas: [B, M]; whatever takes more than any block has is never served, nor who follows it.
        room: gas of each of the slot's blocks, by its number; the first has the least. May be inf.

    Returns:
        float64 [B, M] as `assign_blocks`.
    """
    column = by_arrival(arrival_s, order.to(arrival_s.device))
    if tip is not None:
        column = column.gather(1, by_tip(tip.gather(1, column)))
    earliest = blocks.earliest(arrival_s.gather(1, column))
    gas = gas.gather(1, column).double()
    if bool(((gas * (earliest < blocks.count)).sum(dim=1) <= room(0)).all()):
        return torch.empty_like(earliest).scatter_(1, column, earliest)
    served = torch.full_like(earliest, torch.inf)
    waiting = earliest < blocks.count
    for block in range(blocks.count):
        present = waiting & (earliest <= block)
        taken = present & ((gas * present).cumsum(dim=1) <= room(block) * (1 + EDGE))
        served.masked_fill_(taken, block)
        waiting &= ~taken
    return torch.empty_like(served).scatter_(1, column, served)
