"""Inclusion per transaction against a slow event loop, one environment and one block at a time."""

import dataclasses
import functools
import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import yaml

from gridbazaar import ledger_sim
from gridbazaar.errors import ConfigError, LedgerError
from gridbazaar.ledger_sim import Transactions
from gridbazaar.ledger_sim.chain.mempool import Mempool
from gridbazaar.ledger_sim.chain.queueing import assign_blocks, assign_by_gas, places_of, tie_order
from gridbazaar.ledger_sim.consensus.block_times import regular_blocks
from gridbazaar.sourced import plain

CONFIGS = Path(__file__).parents[1] / "configs" / "ledger"
SLOT_S = 900


def oracle(slots, capacity, interval, by_tip):
    """Blocks as {(slot, seat): (slot of the block, its time in the chain)}; exact arithmetic."""
    waiting, result, block = [], {}, 1
    for slot, transactions in enumerate(slots):
        seats = len(transactions)
        for seat, (arrival, tip, gas) in enumerate(transactions):
            if arrival is not None:
                turn = (seat - slot) % seats
                waiting.append((slot * SLOT_S + arrival, tip, slot, turn, seat, gas))
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
            for chosen in present:
                places_left = places - chosen[5]
                if places_left < 0:
                    break  # nobody passes who does not fit
                places = places_left
                waiting.remove(chosen)
                result[chosen[2], chosen[4]] = (slot, time_s)
            block += 1
    return result


@pytest.mark.parametrize("most_gas", [None, 1, 3])
@pytest.mark.parametrize("by_tip", [False, True])
@pytest.mark.parametrize(
    ("capacity", "interval"),
    [(Fraction(3), 30), (Fraction(1), 60), (Fraction(5, 2), 35), (Fraction(3, 10), 10),
     (Fraction(2), 600), (Fraction(4), 1000), (Fraction(9, 10), 45), (Fraction(6), 5)],
)  # fmt: skip
def test_blocks_are_those_of_the_event_loop(capacity, interval, by_tip, most_gas):
    B, N, T = 12, 7, 9
    generator = torch.Generator().manual_seed(interval)
    # Whole seconds from a short window make ties in arrival and tip common.
    window = torch.randint(1, 250, (B, 1), generator=generator)
    arrival = 650 + torch.randint(0, 400, (T, B, N), generator=generator) % window
    tip = torch.randint(0, 3, (T, B, N), generator=generator).double()
    sent = torch.rand(T, B, N, generator=generator) < 0.8
    gas = torch.randint(1, (most_gas or 1) + 1, (T, B, N), generator=generator).double()
    pool = Mempool.empty(B, torch.device("cpu"), 1.0)
    got: list[dict] = [{} for _ in range(B)]
    for t in range(T):
        times = arrival[t].double().masked_fill(~sent[t], torch.inf)
        first_new = pool.width
        pool = pool.joined(times, tip[t], t, gas[t] if most_gas else None)
        blocks = regular_blocks(t, SLOT_S, interval, deadline_s=870.0)
        order = tie_order(first_new, N, t)
        ranked = pool.tip if by_tip else None
        if pool.gas is None:
            block = assign_blocks(pool.arrival_s, ranked, order, float(capacity), blocks)
        else:
            room = functools.partial(places_of, capacity=float(capacity))
            block = assign_by_gas(pool.arrival_s, ranked, pool.gas, order, room, blocks)
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
                (
                    int(arrival[t, b, i]) if sent[t, b, i] else None,
                    float(tip[t, b, i]),
                    int(gas[t, b, i]),
                )
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


def ledger_of(name, **changes):
    return ledger_sim.make(plain(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())) | changes)


def orders_of(gas, seats=9, batch=4):
    """All at once, each with so much gas."""
    at = torch.full((batch, seats), 700.0, dtype=torch.float64)
    taken = None if gas is None else torch.full_like(at, gas)
    return Transactions(torch.ones_like(at, dtype=torch.bool), at, torch.zeros_like(at), taken)


@pytest.mark.parametrize("queue", ["fifo", "tip"])
@pytest.mark.parametrize(
    ("name", "changes"),
    [("block", {"interval_s": 35.0, "block_gas": 3, "background_gas_per_s": 0.5 / 35}),
     ("block", {"interval_s": 100.0, "block_gas": 5}),
     ("tendermint", {"background_gas_per_s": 399.6})],
)  # fmt: skip
def test_an_orders_gas_given_or_not_makes_no_difference(name, changes, queue):
    receipts = []
    for gas in (None, 1.0):
        ledger = ledger_of(name, **changes | {"queue": queue})
        ledger.reset(torch.arange(4))
        receipts.append([ledger.step(orders_of(gas), 870.0) for _ in range(4)])
    for bare, explicit in zip(*receipts, strict=True):
        assert torch.equal(bare.latency_s, explicit.latency_s)
        assert torch.equal(bare.backlog, explicit.backlog)


@pytest.mark.parametrize(
    ("name", "changes", "most", "says"),
    [("block", {"block_gas": 3}, 3, "others leave 3.0 of a block's 3"),
     ("block", {"block_gas": 3, "background_gas_per_s": 0.5 / 30}, 3, "others leave 2.5"),
     ("block", {"block_gas": 3, "background_gas_per_s": 1.0 / 30}, 2, "others leave 2.0"),
     # A hundredth of a place in each of 30 blocks of a slot does not make one.
     ("block", {"block_gas": 3, "background_gas_per_s": 0.99 / 30}, 2, "others leave 2.0"),
     ("proof_of_stake", {}, 2**24, "others leave 30,000,000.0 of .* EIP-7825 allows 16,777,216"),
     ("proof_of_authority", {}, 2**24, "EIP-7825 allows 16,777,216"),
     ("proof_of_authority", {"block_gas": 1e7}, 1e7, "others leave 10,000,000.0")],
)  # fmt: skip
def test_gas_above_what_a_block_has_room_for_is_refused(name, changes, most, says):
    ledger = ledger_of(name, **changes)
    ledger.reset(torch.arange(4))
    for _ in range(3):
        got = ledger.step(orders_of(float(most), seats=1), 870.0)
    assert not got.backlog.any()
    with pytest.raises(LedgerError, match=says):
        ledger.step(orders_of(most + 1.0, seats=1), 870.0)


def test_nobodys_gas_is_no_error():
    ledger = ledger_of("block")
    ledger.reset(torch.arange(4))
    assert ledger.step(orders_of(1.0, seats=0), 870.0).latency_s.shape == (4, 0)


def test_room_that_no_order_ever_fits_is_refused():
    with pytest.raises(ConfigError, match=r"leaves 0\.03, and an order takes 1"):
        ledger_of("block", background_gas_per_s=299.97 / 30)


@pytest.mark.parametrize("gas", [None, 1.0])
def test_who_came_first_is_served_first_after_days_of_waiting(gas):
    """A place every five hours: the last of twelve waits for 60, and nobody passes."""
    network = plain(yaml.safe_load((CONFIGS / "block.yaml").read_text()))["network"]
    ledger = ledger_of(
        "block", interval_s=18000.0, block_gas=1, network=network | {"submission_delay_s": 0.0}
    )
    ledger.reset(torch.arange(2))
    first = orders_of(gas, seats=12, batch=2)
    first = dataclasses.replace(first, submitted_s=800.0 - torch.arange(12).double().expand(2, 12))
    nobody = dataclasses.replace(first, sent=first.sent & False)
    served = []
    for slot in range(245):
        got = ledger.step(first if slot == 0 else nobody, 870.0)
        if got.earlier is not None:
            served += got.earlier.seat[got.earlier.environment == 1].tolist()
    assert served == list(range(11, -1, -1))
