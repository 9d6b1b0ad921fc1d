"""Inclusion per transaction against a slow event loop, one environment and one block at a time."""

import math
from fractions import Fraction

import pytest
import torch

from ledger_sim.block_times import regular_blocks
from ledger_sim.mempool import Mempool
from ledger_sim.queueing import assign_blocks, tie_order

SLOT_S = 900


def oracle(slots, capacity, interval, by_tip):
    """Blocks as {(slot, seat): (slot of the block, its time in the chain)}; exact arithmetic."""
    waiting, result, block = [], {}, 1
    for slot, transactions in enumerate(slots):
        seats = len(transactions)
        for seat, (arrival, tip) in enumerate(transactions):
            if arrival is not None:
                turn = (seat - slot) % seats
                waiting.append((slot * SLOT_S + arrival, tip, slot, turn, seat))
        taken = 0
        places_before = 0
        while block * interval <= (slot + 1) * SLOT_S:
            time_s = block * interval
            taken += capacity
            places = math.floor(taken) - places_before
            places_before += places
            present = [t for t in waiting if t[0] <= time_s]
            # By tip, then arrival, then the older slot, then the turn of the seats.
            present.sort(key=lambda t: (-t[1] if by_tip else 0, t[0], t[2], t[3]))
            for chosen in present[:places]:
                waiting.remove(chosen)
                result[chosen[2], chosen[4]] = (slot, time_s)
            block += 1
    return result


@pytest.mark.parametrize("by_tip", [False, True])
@pytest.mark.parametrize(
    ("capacity", "interval"),
    [(Fraction(3), 30), (Fraction(1), 60), (Fraction(5, 2), 35), (Fraction(3, 10), 10),
     (Fraction(2), 600), (Fraction(4), 1000), (Fraction(9, 10), 45), (Fraction(6), 5)],
)  # fmt: skip
def test_blocks_are_those_of_the_event_loop(capacity, interval, by_tip):
    B, N, T = 12, 7, 9
    generator = torch.Generator().manual_seed(interval)
    # Whole seconds from a short window make ties in arrival and tip common.
    window = torch.randint(1, 250, (B, 1), generator=generator)
    arrival = 650 + torch.randint(0, 400, (T, B, N), generator=generator) % window
    tip = torch.randint(0, 3, (T, B, N), generator=generator).double()
    sent = torch.rand(T, B, N, generator=generator) < 0.8
    pool = Mempool.empty(B, torch.device("cpu"))
    got: list[dict] = [{} for _ in range(B)]
    for t in range(T):
        times = arrival[t].double().masked_fill(~sent[t], torch.inf)
        first_new = pool.width
        pool = pool.joined(times, tip[t], t, None, 1.0)
        blocks = regular_blocks(t, SLOT_S, interval, deadline_s=870.0)
        order = tie_order(first_new, N, t)
        ranked = pool.tip if by_tip else None
        block = assign_blocks(pool.arrival_s, ranked, order, float(capacity), blocks)
        on_chain = block < blocks.count
        time_s = t * SLOT_S + blocks.first_s + block * blocks.interval_s
        for b, column in on_chain.nonzero().tolist():
            key = int(pool.slot[b, column]), int(pool.seat[b, column])
            assert key not in got[b]
            got[b][key] = (t, round(float(time_s[b, column]), 6))
        pool = pool.carried((pool.arrival_s < torch.inf) & ~on_chain, order, SLOT_S)
    for b in range(B):
        slots = [
            [
                (int(arrival[t, b, i]) if sent[t, b, i] else None, float(tip[t, b, i]))
                for i in range(N)
            ]
            for t in range(T)
        ]
        assert got[b] == oracle(slots, capacity, interval, by_tip)


@pytest.mark.parametrize("interval_s", [0.001, 5.0, 18.75, 30.0, 35.0, 600.0, 2000.0])
def test_every_block_of_the_chain_falls_into_one_slot(interval_s):
    reached = 0
    for slot in range(96):
        blocks = regular_blocks(slot, 900.0, interval_s, deadline_s=870.0)
        assert 0 < blocks.first_s <= interval_s + 1e-6
        first = round((slot * 900.0 + blocks.first_s) / interval_s)
        assert first == reached + 1
        reached += blocks.count
        assert 0 <= blocks.closing <= blocks.count
        if blocks.closing:
            assert blocks.first_s + (blocks.closing - 1) * interval_s <= 870.0 + 1e-6
        assert blocks.first_s + blocks.closing * interval_s > 870.0 - 1e-6
    assert reached == math.floor(96 * 900.0 / interval_s + 1e-6)
