"""Rotation of validators by the clock, and the turns that faulty ones miss."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim.consensus.block_times import regular_blocks
from gridbazaar.ledger_sim.consensus.faults import FaultEvent
from gridbazaar.ledger_sim.random_streams import OfDay


def clock(slot: int, slot_s: float, interval_s: float, device: torch.device) -> Tensor:
    """Return the numbers, int64 [K] from the day's start, of a slot's blocks by the clock.

    Block k is due at (k + 1) interval_s.
    """
    regular = regular_blocks(slot, slot_s, interval_s, slot_s)
    first = round((slot * slot_s + regular.first_s) / interval_s) - 1
    return first + torch.arange(regular.count, device=device)


def missed(
    seed: Tensor, events: list[FaultEvent], validators: int, due_s: Tensor, turn: Tensor
) -> Tensor:
    """Return bool [B, K]: the block's validator is silent, or cannot be reached.

    Which validators an event hits is drawn for each environment and event.

    Args:
        seed: int64 [B], the day's.
        events: the day's faults.
        validators: n.
        due_s: float64 [K], when the blocks are due, seconds since the day's start.
        turn: int64 [K], whose turn each is, 0 to n - 1.
    """
    gone = due_s.new_zeros(len(seed), len(due_s), dtype=torch.bool)
    for number, event in enumerate(events):
        during = (due_s >= event.from_s) & (due_s < event.to_s)
        silent = event.crashed + event.cut_off
        if silent and during.any():
            draw = randomness.uniform(seed, OfDay.WHO_FAILS + number, [validators], torch.float64)
            hit = draw.argsort(dim=1).argsort(dim=1) < silent
            gone |= hit[:, turn] & during
    return gone
