"""The day of a chain: its blocks, what faults take away, and when what is written stands."""

from __future__ import annotations

import torch
from torch import Tensor

from ledger_sim import randomness
from ledger_sim.block_times import (
    EDGE,
    Blocks,
    DrawnBlocks,
    RegularBlocks,
    drawn_blocks,
    regular_blocks,
)
from ledger_sim.consensus import ChainConfig, Consensus, Health

_MISSED, _REVERSED = 2, 1
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
            for event in config.faults
        ]
        self._tables: dict[int, Tensor] = {}

    def reset(self, seed: Tensor) -> None:
        """Start a day; `seed` int64 [B]."""
        self._seed = seed.clone()
        self._tables.clear()
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
        for past in [known for known in self._tables if known < slot]:
            del self._tables[past]
        return drawn_blocks(self._times(slot), deadline_s)

    def final_s(self, slot: int, blocks: Blocks) -> Tensor:
        """Return when the block that settles a slot is final, [B] s since the slot's start.

        That is the first block after the deadline.
        """
        start_s = slot * self._slot_s
        if isinstance(blocks, RegularBlocks):
            index = blocks.closing + self.consensus.confirmations
            settled = self._seed.new_full(
                self._seed.shape, start_s + blocks.first_s + blocks.closing * blocks.interval_s,
                dtype=torch.float64,
            )  # fmt: skip
            confirmed = settled + (index - blocks.closing) * blocks.interval_s
        else:
            assert isinstance(blocks, DrawnBlocks)
            settled, confirmed = self._confirmed_s(slot, blocks)
        final = self.consensus.final_s(confirmed)
        for event, health in self._events:
            if not health.final:
                caught = (settled < event.to_s) & (final > event.from_s)
                final = torch.where(
                    caught, torch.maximum(final, event.to_s + final - settled), final
                )
        return final - start_s

    def reverted(self, slot: int, final_s: Tensor) -> Tensor:
        """Return bool [B]: what the slot settled is lost, by chance or by too many faults."""
        probability = self.consensus.reversal_probability
        seed = randomness.fold(self._seed, slot)
        lost = randomness.uniform(seed, _REVERSED, [], torch.float64) < probability
        start_s = slot * self._slot_s
        for event, health in self._events:
            if not health.safe and start_s < event.to_s:
                lost = lost | (start_s + final_s > event.from_s)
        return lost

    def _confirmed_s(self, slot: int, blocks: DrawnBlocks) -> tuple[Tensor, Tensor]:
        """Return the times [B] of the settling and the last confirming block since day's start."""
        times = blocks.times_s + slot * self._slot_s
        wanted = blocks.closing + self.consensus.confirmations
        ahead = slot
        while (
            times.shape[1] == 0
            or not times.isfinite()
            .gather(1, wanted.clamp(max=times.shape[1] - 1))
            .logical_and(wanted < times.shape[1])
            .all()
        ):
            ahead += 1
            if ahead > slot + _HORIZON:
                break
            times = torch.cat([times, self._times(ahead) + ahead * self._slot_s], 1).sort(1).values
        missing = (wanted + 1 - times.isfinite().sum(1, keepdim=True)).clamp(min=0)
        end_s = (ahead + 1) * self._slot_s
        late = end_s + missing * self.consensus.interval_s
        padded = torch.cat([times, torch.full_like(late, torch.inf)], 1)

        def at(index: Tensor) -> Tensor:
            found = padded.gather(1, index.clamp(max=padded.shape[1] - 1))
            return torch.where(found.isfinite(), found, late).squeeze(1)

        return at(blocks.closing), at(wanted)

    def _times(self, slot: int) -> Tensor:
        """Return the slot's block times [B, K] after faults, s since the slot's start."""
        if slot not in self._tables:
            times = self.consensus.draw_times(self._seed, slot)
            if times is None:
                times = self._clock(slot)
            self._tables[slot] = self._without_faulty(times, slot)
        return self._tables[slot]

    def _clock(self, slot: int) -> Tensor:
        regular = regular_blocks(slot, self._slot_s, self.consensus.interval_s, self._slot_s)
        number = torch.arange(regular.count, dtype=torch.float64, device=self._seed.device)
        return regular.time_s(number).expand(len(self._seed), -1)

    def _without_faulty(self, times: Tensor, slot: int) -> Tensor:
        """Return times with inf for blocks that nobody proposed."""
        at_s = times + slot * self._slot_s
        for number, (event, health) in enumerate(self._events):
            during = (at_s >= event.from_s) & (at_s < event.to_s)
            if health.block_share < 1 and during.any():
                seed = randomness.fold(randomness.fold(self._seed, slot), _MISSED + number)
                draw = randomness.uniform(seed, _MISSED, times.shape[1:], torch.float64)
                times = times.masked_fill(during & (draw >= health.block_share), torch.inf)
        return times

    def health(self, at_s: float) -> Health:
        """Return what faults leave at a time of the day; the worst where several meet."""
        now = [health for event, health in self._events if event.from_s <= at_s < event.to_s]
        return Health(
            block_share=min([1.0, *(h.block_share for h in now)]),
            final=all(h.final for h in now),
            safe=all(h.safe for h in now),
        )
