"""A ledger's state as one value: taken in mid-day, restored, picked, replaced, stored."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
import yaml

from gridbazaar import ledger_sim
from gridbazaar.configs import complete_ledger
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim import MarketTransactions, Transactions
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, consensus_of
from gridbazaar.ledger_sim.layers.protocol import LAYERS
from gridbazaar.ledger_sim.record.privacy import Disclosure, VolumePublisher
from gridbazaar.rows import from_plain, pick_rows, replace_rows, to_plain
from gridbazaar.sourced import plain
from gridbazaar.studies.ledger.configured import read

CONFIGS = Path(__file__).parents[1] / "configs" / "ledger"
LEDGERS = sorted(path.stem for path in CONFIGS.glob("[!_]*.yaml"))
B, N, SLOTS, FORK = 4, 12, 8, 5
SLOT_S, DEADLINE_S = 10_800.0, 9_000.0  # eight slots a day, so that layers close what they opened
BUSY = {"interval_s": 3_500.0, "block_gas": 3.0, "queue": "tip"}
FEES = {
    "flat": {"rule": "fixed", "price": 0.25, "burned_share": 0.3},
    "escalated": {
        "rule": "load_escalated",
        "price": 0.1,
        "soft_limit": 2.0,
        "multiplier": 3.0,
        "burned_share": 0.5,
    },
}


def config_of(name, **changes):
    return complete_ledger(plain(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())) | changes)


def crowded(name):
    """The same ledger with room for fewer orders than are sent."""
    chain = read(name)
    order_gas = 1.0 if chain.gas == "unit" else 60_000.0
    per_slot = SLOT_S / consensus_of(chain).interval_s
    room = max(1.0, round(N / 2 / per_slot)) * order_gas
    return config_of(name, slot_s=SLOT_S, block_gas=room, background_gas_per_s=0.0)


def busy(*stack, fees="flat", **changes):
    config = config_of("block", slot_s=SLOT_S, fees=FEES[fees], layers=list(stack), **BUSY)
    return complete_ledger(config | changes)


CASES = {name: lambda name=name: config_of(name, slot_s=SLOT_S) for name in LEDGERS}
CASES |= {
    f"crowded {name}": lambda name=name: crowded(name)
    for name in LEDGERS
    if isinstance(read(name), ChainConfig)
}
CASES |= {f"busy {name}": lambda name=name: busy(name) for name in LAYERS.names()}
CASES |= {
    "busy": lambda: busy(fees="escalated"),
    "over public": lambda: config_of(
        "proof_of_stake", slot_s=SLOT_S, layers=["aggregated_disclosure"]
    ),
    "payments": lambda: busy({"name": "channels", "carries": "payments"}),
    "slow channels": lambda: busy({"name": "channels", "round_trip_s": 5_000.0}),
    "by coin age": lambda: config_of(
        "proof_of_stake",
        slot_s=SLOT_S,
        validators=5,
        proposer="coin_age",
        stake={"concentration": 1.0, "locked_eur": 100.0, "slashed_lying": 0.5},
        income={"block_reward_eur": 1.0},
        faults=[{"from_s": SLOT_S, "to_s": 3 * SLOT_S, "lying": 1, "crashed": 1}],
        interval_s=600.0,
        background_gas_per_s=0.0,
        missed_share=0.2,
    ),
    "roots over shards": lambda: busy("sharding", "merkle_batch"),
    "shards over roots": lambda: busy("merkle_batch", "sharding"),
    "disclosed commitments": lambda: busy("commit_reveal", "aggregated_disclosure"),
}
every_case = pytest.mark.parametrize("case", CASES)


def day(seed, batch=B, slots=SLOTS):
    """Orders and the market's own transactions, slot by slot."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(batch, *shape, generator=generator, dtype=torch.float64)

    return [
        (
            Transactions(draw(N) < 0.9, SLOT_S * draw(N), (draw(N) * 4).round() / 4),
            MarketTransactions(*((draw() * 6).round() for _ in range(4))),
        )
        for _ in range(slots)
    ]


def rows_of(days, rows):
    return [(pick_rows(orders, rows), pick_rows(market, rows)) for orders, market in days]


def play(ledger, days):
    return [(ledger.step(o, DEADLINE_S), ledger.submit_market(m)) for o, m in days]


def after(config, seed, days):
    """A ledger in the middle of its day."""
    ledger = ledger_sim.make(config)
    ledger.reset(torch.as_tensor(seed))
    play(ledger, days)
    return ledger


def by_environment(earlier, row):
    """One environment's inclusions, by slot and seat."""
    if earlier is None:
        return []
    own = earlier.environment == row
    names = ("slot", "seat", "block_s", "fee")
    return sorted(zip(*(getattr(earlier, name)[own].tolist() for name in names), strict=True))


def assert_same_row(one, row, other, other_row):
    """Of one environment, all that two ledgers say is the same, but for the order of sums."""
    for slot, (whole, part) in enumerate(zip(one, other, strict=True)):
        for mine, its in zip(whole, part, strict=True):
            for field in fields(mine):
                a, b = getattr(mine, field.name), getattr(its, field.name)
                if field.name == "earlier":
                    assert by_environment(a, row) == by_environment(b, other_row), slot
                elif a is None:
                    assert b is None
                else:
                    torch.testing.assert_close(
                        a[row], b[other_row], rtol=1e-12, atol=1e-6 * (field.name == "finality_s"),
                        msg=lambda m, f=field.name, s=slot: f"{f} in slot {s}: {m}",
                    )  # fmt: skip


def identical(one, other):
    """Whether all is the same bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and one.dtype is other.dtype
    if one is None or other is None:
        return one is other
    if isinstance(one, list | tuple):
        return all(identical(a, b) for a, b in zip(one, other, strict=True))
    names = [field.name for field in fields(one)]
    return all(identical(getattr(one, name), getattr(other, name)) for name in names)


@every_case
def test_two_ways_to_go_on_from_one_moment(case):
    config, seed, first, second = CASES[case](), range(7, 7 + B), day(0), day(1)
    for fork in (0, FORK):
        ledger = after(config, seed, first[:fork])
        state = ledger.state
        before = to_plain(state)
        expected = play(ledger, first[fork:])
        ledger.state = state
        other = play(ledger, second[fork:])
        assert not identical(other, expected)
        ledger.state = state
        assert identical(play(ledger, first[fork:]), expected)
        fresh = ledger_sim.make(config)
        fresh.state = state
        assert identical(play(fresh, first[fork:]), expected)
        used = after(config, range(2), day(3, batch=2, slots=2))
        used.state = state
        assert identical(play(used, first[fork:]), expected)
        flat = torch.utils._pytree.tree_leaves((before, to_plain(state)))
        half = len(flat) // 2
        for was, now in zip(flat[:half], flat[half:], strict=True):
            assert torch.equal(was, now) if isinstance(was, torch.Tensor) else was == now


@every_case
def test_one_market_s_other_action_changes_that_market_alone(case):
    config, first, second = CASES[case](), day(0), day(1)
    ledger = after(config, range(B), first[:FORK])
    state = ledger.state
    expected = play(ledger, first[FORK:])
    row = torch.tensor([1])
    mixed = [
        tuple(replace_rows(a, row, pick_rows(b, row)) for a, b in zip(*pair, strict=True))
        for pair in zip(first[FORK:], second[FORK:], strict=True)
    ]
    ledger.state = state
    got = play(ledger, mixed)
    assert not identical(got, expected)
    for other in (0, 2, 3):
        assert_same_row(got, other, expected, other)


@every_case
def test_rows_of_a_state_go_on_as_they_do_in_the_whole(case):
    config, days = CASES[case](), day(0)
    ledger = after(config, range(7, 7 + B), days[:FORK])
    state = ledger.state
    expected = play(ledger, days[FORK:])
    rows = torch.tensor([2, 0])
    ledger.state = pick_rows(state, rows)
    got = play(ledger, rows_of(days[FORK:], rows))
    assert got[0][0].included.shape == (2, N)
    for place, row in enumerate(rows.tolist()):
        assert_same_row(got, place, expected, row)


@every_case
def test_a_replaced_market_goes_on_with_the_other_day(case):
    config, days, others = CASES[case](), day(0), day(1, batch=2)
    ledger = after(config, range(7, 7 + B), days[:FORK])
    alone = after(config, [91, 92], others[:FORK])
    state = replace_rows(ledger.state, torch.tensor([3, 1]), alone.state)
    expected, expected_alone = play(ledger, days[FORK:]), play(alone, others[FORK:])
    ledger.state = state
    mixed = [
        tuple(replace_rows(a, torch.tensor([3, 1]), b) for a, b in zip(*pair, strict=True))
        for pair in zip(days[FORK:], others[FORK:], strict=True)
    ]
    got = play(ledger, mixed)
    for row in (0, 2):
        assert_same_row(got, row, expected, row)
    for row, place in ((3, 0), (1, 1)):
        assert_same_row(got, row, expected_alone, place)


@every_case
def test_a_stored_state_goes_on(case, tmp_path):
    config, days = CASES[case](), day(0)
    ledger = after(config, range(7, 7 + B), days[:FORK])
    torch.save(to_plain(ledger.state), tmp_path / "state.pt")
    expected = play(ledger, days[FORK:])
    stored = torch.load(tmp_path / "state.pt", weights_only=True)
    fresh = ledger_sim.make(config)
    fresh.reset(torch.tensor([1]))
    fresh.state = from_plain(fresh.state, stored)
    assert identical(play(fresh, days[FORK:]), expected)


@every_case
def test_between_orders_and_settlement_there_is_a_state_too(case):
    config, days = CASES[case](), day(0)
    ledger = after(config, range(B), days[:FORK])
    orders, market = days[FORK]
    ledger.step(orders, DEADLINE_S)
    state = ledger.state
    expected = [ledger.submit_market(market), play(ledger, days[FORK + 1 :])]
    ledger.state = state
    assert identical([ledger.submit_market(market), play(ledger, days[FORK + 1 :])], expected)


def test_queues_of_other_lengths_and_other_gas_stand_side_by_side():
    config, days = busy(), day(0)
    sparse = [(Transactions(o.sent & False, o.submitted_s, o.tip), m) for o, m in days]
    counted = [
        (Transactions(o.sent, o.submitted_s, o.tip, torch.full_like(o.tip, 2.0)), m)
        for o, m in days
    ]
    for one, other in ((days, sparse), (sparse, days), (days, counted), (counted, days)):
        ledger, alone = (after(config, range(B), orders[:FORK]) for orders in (one, other))
        rows = torch.tensor([2])
        state = replace_rows(ledger.state, rows, pick_rows(alone.state, rows))
        expected, expected_alone = play(ledger, days[FORK:]), play(alone, days[FORK:])
        ledger.state = state
        got = play(ledger, days[FORK:])
        assert_same_row(got, 2, expected_alone, 2)
        for row in (0, 1, 3):
            assert_same_row(got, row, expected, row)


def test_a_state_of_another_slot_does_not_stand_in():
    config, days = busy(), day(0)
    early, late = (after(config, range(B), days[:slots]).state for slots in (2, 3))
    with pytest.raises(ValueError, match="same world and hour"):
        replace_rows(early, torch.tensor([0]), pick_rows(late, torch.tensor([0])))
    with pytest.raises(LedgerError, match="before reset"):
        _ = ledger_sim.make(config).state


@pytest.mark.parametrize("slots", [1, 3])
def test_volumes_published_after_a_fork(slots, tmp_path):
    disclosure = Disclosure(False, False, 2, slots, 0.5, 1.0)
    volume = torch.rand(9, B, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def publish(publisher, volumes):
        return [publisher.publish(each) for each in volumes]

    publisher = VolumePublisher(disclosure, torch.arange(B), 9)
    publish(publisher, volume[:4])
    state = publisher.state
    expected = publish(publisher, volume[4:])
    torch.save(to_plain(state), tmp_path / "state.pt")
    rows = torch.tensor([2, 0])
    fresh = VolumePublisher(disclosure, torch.tensor([5]), 9)
    stored = torch.load(tmp_path / "state.pt", weights_only=True)
    fresh.state = from_plain(fresh.state, stored)
    part = VolumePublisher(disclosure, torch.tensor([5]), 9)
    part.state = pick_rows(state, rows)
    got, picked = publish(fresh, volume[4:]), publish(part, volume[4:, rows])
    for all_known, again, some in zip(expected, got, picked, strict=True):
        if all_known is None:
            assert again is some is None
            continue
        assert torch.equal(all_known.volume, again.volume)
        assert torch.equal(all_known.volume[rows], some.volume)
        assert torch.equal(all_known.shown[rows], some.shown)
