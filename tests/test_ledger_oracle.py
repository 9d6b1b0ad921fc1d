"""Inclusion per transaction against the same chain as processes in SimPy, one event at a time."""

import heapq
import math
from pathlib import Path

import pytest
import simpy
import torch
import yaml

from gridbazaar import ledger_sim
from gridbazaar.ledger_sim import Transactions

CONFIG = Path(__file__).parents[1] / "configs" / "ledger" / "block.yaml"
SLOT_S, DEADLINE_S, B, N, SLOTS = 900, 870, 10, 9, 8


def loads(seed, whole_seconds):
    """Random loads per slot; in whole seconds and few tips, many claims are equal."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    slots = []
    for _ in range(SLOTS):
        window = 50 + 850 * draw(B, 1)
        submitted_ms = ((SLOT_S - window + window * draw(B, N)) * 1000).floor()
        if whole_seconds:
            submitted_ms = (submitted_ms / 1000).floor() * 1000
        tip = (draw(B, N) * 3).floor() / 4 if whole_seconds else draw(B, N)
        slots.append(Transactions(draw(B, N) < draw(B, 1), submitted_ms / 1000, tip))
    return slots


def simulate(slots, environment, interval_ms, places, by_tip):
    """Let one market's transactions and blocks happen in SimPy.

    Args:
        slots: a `Transactions` per slot.
        environment: row of the batch.
        interval_ms: int, between blocks.
        places: per block; a fraction adds up from block to block of a slot.
        by_tip: whether the highest tip goes first.

    Returns:
        Number of the block, from 1 at `interval_ms`, by (slot, seat).
    """
    world, mempool, blocks = simpy.Environment(), [], {}
    slot_ms = SLOT_S * 1000

    def transaction(slot, seat, at_ms, tip):
        yield world.timeout(slot * slot_ms + at_ms)
        claim = (-tip if by_tip else 0.0, world.now, slot, (seat - slot) % N, seat)
        heapq.heappush(mempool, claim)

    def chain():
        number = in_slot = slot = 0
        while True:
            yield world.timeout(interval_ms)
            number += 1
            if (world.now - 1) // slot_ms > slot:
                slot, in_slot = (world.now - 1) // slot_ms, 0
            in_slot += 1
            for _ in range(int(in_slot * places) - int((in_slot - 1) * places)):
                if mempool:
                    *_, sent_in, _, seat = heapq.heappop(mempool)
                    blocks[sent_in, seat] = number

    for slot, load in enumerate(slots):
        for seat in load.sent[environment].nonzero().squeeze(1).tolist():
            at_ms = round(float(load.submitted_s[environment, seat]) * 1000)
            world.process(transaction(slot, seat, at_ms, float(load.tip[environment, seat])))
    # After the transactions, so that a block takes what arrives in the same millisecond.
    world.process(chain())
    world.run(until=len(slots) * slot_ms + 1)
    return blocks


def ledgers_blocks(slots, interval_s, changes):
    """Return what `simulate` does for every environment, and what is left in the mempools."""
    raw = yaml.safe_load(CONFIG.read_text())
    network = raw["network"] | {"submission_delay_s": 0.0}
    ledger = ledger_sim.make(raw | {"interval_s": interval_s, "network": network} | changes)
    ledger.reset(torch.arange(B))
    blocks = [{} for _ in range(B)]
    for slot, load in enumerate(slots):
        got = ledger.step(load, float(DEADLINE_S))
        block_s = load.submitted_s + got.latency_s
        assert torch.equal(got.included, block_s <= DEADLINE_S + 1e-6)
        for b, seat in block_s.isfinite().nonzero().tolist():
            blocks[b][slot, seat] = (slot * SLOT_S + float(block_s[b, seat])) / interval_s
        if got.earlier is not None:
            e = got.earlier
            keys = zip(e.environment.tolist(), e.slot.tolist(), e.seat.tolist(), strict=True)
            for (b, sent_in, seat), at_s in zip(keys, e.block_s.tolist(), strict=True):
                assert (sent_in, seat) not in blocks[b]
                blocks[b][sent_in, seat] = (slot * SLOT_S + at_s) / interval_s
    for numbers in blocks:
        for key, number in numbers.items():
            assert abs(number - round(number)) < 1e-6
            numbers[key] = round(number)
    return blocks, got.backlog.tolist()


@pytest.mark.parametrize("whole_seconds", [True, False])
@pytest.mark.parametrize("queue", ["fifo", "tip"])
@pytest.mark.parametrize(
    ("interval_s", "block_gas", "background"),
    [(30.0, 300, 0.0), (30.0, 1, 0.0), (60.0, 1, 0.0), (35.0, 2, 0.0), (45.0, 4, 0.0625),
     (300.0, 1, 0.0), (200.0, 2, 0.00625), (1000.0, 5, 0.0), (5.0, 1, 0.1953125)],
)  # fmt: skip
def test_every_transaction_is_in_the_block_of_the_event_simulation(
    interval_s, block_gas, background, queue, whole_seconds
):
    slots = loads(int(interval_s) + block_gas, whole_seconds)
    changes = {"block_gas": block_gas, "background_gas_per_s": background, "queue": queue}
    got, backlog = ledgers_blocks(slots, interval_s, changes)
    places = block_gas - background * interval_s
    for b in range(B):
        expected = simulate(slots, b, round(interval_s * 1000), places, queue == "tip")
        assert got[b] == expected
        sent = sum(int(load.sent[b].sum()) for load in slots)
        assert len(expected) + backlog[b] == sent


@pytest.mark.parametrize(("interval_s", "longest"), [(60.0, 5), (300.0, 12)])
def test_the_loads_do_queue(interval_s, longest):
    """Otherwise the comparison would say little: many miss their first block, some whole slots."""
    slots = loads(int(interval_s) + 1, whole_seconds=True)
    blocks, _ = ledgers_blocks(slots, interval_s, {"block_gas": 1})
    waits = [
        number - math.ceil((slot * SLOT_S + float(slots[slot].submitted_s[b, seat])) / interval_s)
        for b in range(B)
        for (slot, seat), number in blocks[b].items()
    ]
    assert min(waits) == 0
    assert sum(wait > 0 for wait in waits) > len(waits) / 4
    assert max(waits) >= longest
