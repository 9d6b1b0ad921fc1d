"""Day of a chain: its blocks, what faults take away, and when settlements are final."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim.consensus.block_times import EDGE, Blocks, drawn_blocks, regular_blocks
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus
from gridbazaar.ledger_sim.random_streams import OfSlot

# Finality is looked for so many slots ahead; beyond, blocks are taken to come at their mean.
_HORIZON = 500


class Timeline:
    """Blocks of B environments, fixed by the day's seeds whatever is sent.

    Args:
        consensus: when blocks come and what they mean.
    """

    def __init__(self, consensus: Consensus[ChainConfig]) -> None:
        self.consensus = consensus
        config = consensus.config
        self._slot_s = config.slot_s
        self._events = [
            (event, consensus.health(event.crashed, event.lying, event.cut_off))
            for event in consensus.faults
        ]
        self._seed = torch.empty(0, dtype=torch.int64)
        self._drawn = False
        self._tables: dict[int, Tensor] = {}
        self._counts: dict[int, Tensor] = {}  # blocks in each row of a table, [B, 1] or [1, 1]

    def reset(self, seed: Tensor) -> None:
        """Start a day, or go on in it where `seed` int64 [B], never changed in place, is its own.

        What was drawn of the same day is kept; it depends on seed and slot alone.
        """
        if seed is self._seed:
            return
        self._seed = seed
        self._tables.clear()
        self._counts.clear()
        self._drawn = bool(self._events) or self.consensus.draw_times(seed[:1], 0) is not None

    def wait_s(self, deadline_s: float, late_share: float) -> float:
        """Return how long before a deadline all but a share of its last blocks have come."""
        wait_s = self.consensus.wait_s(late_share)
        interval_s = self.consensus.interval_s
        if (self._slot_s / interval_s) % 1 < EDGE and wait_s <= interval_s:
            # The clock strikes alike in every slot.
            return deadline_s % interval_s
        return wait_s

    def blocks(self, slot: int, deadline_s: float) -> Blocks:
        """Return a slot's blocks."""
        if not self._drawn:
            return regular_blocks(slot, self._slot_s, self.consensus.interval_s, deadline_s)
        return drawn_blocks(self._times(slot), deadline_s)

    def forget(self, before: int) -> None:
        """Drop the blocks of all slots before one; they may be drawn again."""
        for past in [known for known in self._tables if known < before]:
            del self._tables[past], self._counts[past]

    def settled_s(self, slot: int, deadline_s: float, later: int = 0) -> Tensor:
        """Return when the block comes that settles a slot, or one so many later.

        It is the first that takes transactions after the deadline. Times are s since the slot's
        start, [B], or [1] where nothing is drawn.
        """
        start_s, proposed_s = slot * self._slot_s, deadline_s + self.consensus.commit_s
        if not self._drawn:
            interval_s = self.consensus.interval_s
            number = math.floor((start_s + proposed_s) / interval_s + EDGE) + 1 + later
            return self._seed.new_tensor([number * interval_s - start_s], dtype=torch.float64)
        return self._nth_s(slot, self._blocks_until(slot, proposed_s) + later)

    def final_s(self, slot: int, deadline_s: float) -> Tensor:
        """Return when the block that settles a slot is final, [B] s since the slot's start."""
        start_s = slot * self._slot_s
        confirmed = self.settled_s(slot, deadline_s, self.consensus.confirmations) + start_s
        final = self.consensus.final_s(confirmed)
        for event, health in self._events:
            if not health.final:
                settled = self.settled_s(slot, deadline_s) + start_s
                caught = (settled < event.to_s) & (final > event.from_s)
                final = torch.where(
                    caught, torch.maximum(final, event.to_s + final - settled), final
                )
        return (final - start_s).expand(len(self._seed))

    def reverted(self, slot: int, deadline_s: float, final_s: Tensor) -> Tensor:
        """Return bool [B]: what the slot settled is lost, by chance or by too many faults.

        Faults that end before the deadline, or begin once the settlement is final, leave it.
        """
        probability = self.consensus.reversal_probability
        lost = torch.zeros_like(self._seed, dtype=torch.bool)
        if probability > 0:
            seed = randomness.fold(self._seed, slot)
            lost = randomness.uniform(seed, OfSlot.REVERSED, [], torch.float64) < probability
        start_s = slot * self._slot_s
        for event, health in self._events:
            if not health.safe and start_s + deadline_s < event.to_s:
                lost = lost | (start_s + final_s > event.from_s)
        return lost

    def _blocks_until(self, slot: int, until_s: float) -> Tensor:
        """Return how many blocks come from the slot's start until then, int64 [B, 1] or [1, 1]."""
        slots = range(max(math.ceil(until_s / self._slot_s), 1))
        counts = [
            (self._times(slot + ahead) + ahead * self._slot_s <= until_s).sum(1, keepdim=True)
            for ahead in slots
        ]
        return torch.stack(torch.broadcast_tensors(*counts)).sum(0)

    def _nth_s(self, slot: int, number: Tensor) -> Tensor:
        """Return when the block number [B, 1] or [1, 1] comes, counted from the slot's start on.

        The time [B] or [1] is in s since then.
        """
        found = torch.full(number.shape, torch.inf, dtype=torch.float64, device=number.device)
        for ahead in range(_HORIZON):
            times = self._times(slot + ahead)
            if times.shape[1]:
                here = (number >= 0) & (number < times.shape[1])
                rows = max(len(number), len(times))
                index = number.clamp(0, times.shape[1] - 1).expand(rows, 1)
                time_s = times.expand(rows, -1).gather(1, index) + ahead * self._slot_s
                found = torch.where(here, time_s, found)
                number = number - self._counts[slot + ahead]
            if (number < 0).all():
                return found.squeeze(1)
        late = _HORIZON * self._slot_s + (number + 1) * self.consensus.interval_s
        return torch.where(number < 0, found, late).squeeze(1)

    def _times(self, slot: int) -> Tensor:
        """Return the slot's block times after faults, s since the slot's start.

        They rise, with inf behind them: float64 [B, K], or [1, K] where nothing is drawn.
        """
        if slot not in self._tables:
            times = self.consensus.draw_times(self._seed, slot)
            if times is None:
                times = self._clock(slot)
            times = self._without_faulty(times, slot).sort(dim=1).values
            count = times.isfinite().sum(dim=1, keepdim=True)
            most = int(count.max())
            self._tables[slot] = times[:, :most].contiguous()
            self._counts[slot] = count
        return self._tables[slot]

    def _clock(self, slot: int) -> Tensor:
        regular = regular_blocks(slot, self._slot_s, self.consensus.interval_s, self._slot_s)
        number = torch.arange(regular.count, dtype=torch.float64, device=self._seed.device)
        return regular.time_s(number).unsqueeze(0)

    def _without_faulty(self, times: Tensor, slot: int) -> Tensor:
        """Return times with inf for blocks that nobody proposed."""
        at_s = times + slot * self._slot_s
        for number, (event, health) in enumerate(self._events):
            during = (at_s >= event.from_s) & (at_s < event.to_s)
            if health.block_share < 1 and during.any():
                if health.block_share > 0:
                    seed = randomness.fold(
                        randomness.fold(self._seed, slot), OfSlot.MISSED + number
                    )
                    draw = randomness.uniform(seed, OfSlot.MISSED, times.shape[1:], torch.float64)
                    during = during & (draw >= health.block_share)
                times = times.masked_fill(during, torch.inf)
        return times
