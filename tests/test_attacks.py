"""Attacks by random input: whatever comes in, a law holds or one line refuses it."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from attack import examples
from conftest import SLOTS
from hypothesis import assume, given
from hypothesis import strategies as st

from gridbazaar import configs, envs, ledger_sim
from gridbazaar.configs import option, options
from gridbazaar.envs.build import make_market
from gridbazaar.envs.data.user_files import TimedFile, read_power
from gridbazaar.envs.markets import MARKETS, Context, Orders, clear_checked
from gridbazaar.envs.markets.book import rounding
from gridbazaar.errors import DataError, GridBazaarError, LedgerError
from gridbazaar.ledger_sim import Transactions
from gridbazaar.ledger_sim.record.recorder import Recorder
from gridbazaar.ledger_sim.record.signed_chain import SignedChain
from gridbazaar.ledger_sim.record.verify import verify

F64 = torch.float64
default = cache(option)  # composing takes longer than an example
LEDGERS = options("ledger")


def assert_one_line(error: Exception) -> None:
    assert str(error).strip()
    assert "\n" not in str(error)


# --- configurations ---------------------------------------------------------------------------


def paths(node, prefix=""):
    """Yield the path of every entry of a nest of mappings."""
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")


HOSTILE = st.one_of(
    st.sampled_from(
        ["null", "true", "-1", "0", "1e300", "-1e300", ".nan", ".inf", "''", "x", "[]", "{}", "[1]",
         "{a: 1}", "1e-300", "1e6", "0.5", "3", "'null'"]
    ),
    st.integers(-3, 20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)  # fmt: skip


def attacked(town, market, ledger, data):
    """Change one or two entries of a world; play a step where nothing refuses them."""
    names = (f"market={market}", f"ledger={ledger}")
    known = [path for path in paths(configs.compose("world", names)) if "." in path]
    keys = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True))
    words = tuple(f"{key}={data.draw(HOSTILE)}" for key in keys)
    # The town's own data and net are played; counts are bounded by memory, see test_memory.py.
    assume(not any(word.startswith(("task.data", "task.feeder", "task.own")) for word in words))
    try:
        world = envs.world(market=market, ledger=ledger, overrides=words)
        simulation = town.build(world, num_envs=2, dtype=F64)
        simulation.reset(seed=1)
    except GridBazaarError as error:
        assert_one_line(error)
        return
    N, entries = simulation.num_seats, len(simulation.game.layout.actions)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        action = torch.rand(2, N, entries, generator=generator, dtype=F64) * 2 - 1
        interval = simulation.step(action)
        assert interval.reward.total.isfinite().all(), words
        assert interval.observation.float().isfinite().all(), words
        accounts = torch.stack(list(interval.bill.accounts.values()))
        turnover = accounts.abs().sum(0).clamp(min=1)
        assert (accounts.sum(0).abs() / turnover).max() < 1e-9, words


@given(market=st.sampled_from(MARKETS.names()), ledger=st.sampled_from(LEDGERS), data=st.data())
@examples(12)
def test_a_changed_configuration_is_refused_in_one_line_or_keeps_the_laws(
    town, market, ledger, data
):
    attacked(town, market, ledger, data)


# --- actions ----------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.floats(width=32), st.sampled_from([-1.0, 1.0, 0.0, -0.0, 1e38, float("nan"), float("inf")])
)


@given(rows=st.lists(st.tuples(*[NUMBERS] * 6), min_size=1, max_size=6))
@examples(15)
def test_an_action_of_any_numbers_is_refused_or_keeps_the_laws(town, rows):
    simulation = town.simulation(ledger="block", num_envs=1, dtype=F64)
    simulation.reset(seed=2)
    action = torch.tensor(rows, dtype=F64)
    action = action[torch.arange(simulation.num_seats) % len(rows)].unsqueeze(0)
    try:
        interval = simulation.step(action)
    except GridBazaarError as error:
        assert not action.isfinite().all()
        assert_one_line(error)
        assert simulation.t == 0
        return
    assert action.isfinite().all()
    assert torch.stack(list(interval.bill.accounts.values())).sum(0).abs().max() < 1e-9
    assert interval.reward.total.isfinite().all()


# --- books ------------------------------------------------------------------------------------


@st.composite
def books(draw):
    """Few seats, sizes over nine decades, prices often equal and at the very bounds."""
    N = draw(st.integers(1, 6))
    size = st.one_of(
        st.just(0.0), st.floats(1e-4, 1e5), st.sampled_from([1e-4, 1.0, 2.0, 3.0, 1e5])
    )
    side = st.sampled_from([-1.0, 1.0])
    price = st.one_of(st.floats(0.08, 0.34), st.sampled_from([0.08, 0.2, 0.34]))
    time = st.one_of(st.floats(0, 900), st.just(5.0))
    each = draw(st.lists(st.tuples(size, side, price, time), min_size=N, max_size=N))
    quantity, limit, arrival = (
        torch.tensor([values], dtype=F64)
        for values in zip(*((q * s, p, t) for q, s, p, t in each), strict=True)
    )
    return Orders(quantity, limit, arrival)


@pytest.mark.parametrize("name", MARKETS.names())
@given(orders=books())
@examples(4)
def test_any_book_is_cleared_within_its_orders_and_balances(name, orders):
    context = Context(
        torch.full((1, 1), 0.34, dtype=F64), torch.full((1, 1), 0.08, dtype=F64), 0.25
    )
    market = make_market(default("market", name))
    clearing = clear_checked(market, orders, context)
    offered, cleared = orders.quantity_kw, clearing.cleared_kw
    largest = offered.abs().max().clamp(min=1)
    for each in (cleared, clearing.price, clearing.payment_eur):
        assert each.isfinite().all()
    # Running sums round by the largest order.
    assert (cleared.abs() <= offered.abs() * (1 + 1e-9) + rounding(largest)).all()
    assert (cleared * offered >= 0).all()
    assert cleared.sum().abs() <= 1e-7 * largest
    money = clearing.payment_eur
    slack = 1e-7 * largest
    if "no_deficit" in market.claims or "budget_balanced" in market.claims:
        assert money.sum() <= slack
    if "budget_balanced" in market.claims:
        assert money.sum() >= -slack
    if "individually_rational" in market.claims:
        gain = money - cleared * orders.limit_price * context.slot_h
        assert gain.min() >= -slack


# --- user's files -----------------------------------------------------------------------------

CELLS = st.one_of(
    st.floats(0, 50).map(lambda x: f"{x:.3f}"),
    st.sampled_from(
        ["", "nan", "inf", "-1", "1e400", "x", "1,5", "NaN", " 2 ", '"', "1e999", "NULL"]
    ),
    st.text(max_size=4),
)
CLOCK = st.one_of(
    st.integers(0, 27).map(lambda h: f"2021-06-{1 + h // 24:02d} {h % 24:02d}:00"),
    st.sampled_from(["", "2021-13-01 00:00", "9999-12-31", "1e18", "2021-06-01T00:00Z", "never"]),
)


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 25), CLOCK | st.none(), CELLS | st.none()), max_size=3
    ),
    junk=st.one_of(st.none(), st.tuples(st.integers(0, 500), st.binary(min_size=1, max_size=6))),
    stamps=st.sampled_from(["start", "end"]),
    zone=st.sampled_from([None, "UTC", "Europe/Berlin"]),
    drop=st.sets(st.integers(0, 23), max_size=2),
)
@examples(60)
def test_any_file_is_read_whole_or_refused_in_one_line(
    tmp_path_factory, changes, junk, stamps, zone, drop
):
    rows = [[f"2021-06-01 {hour:02d}:00", f"{1 + hour / 10}"] for hour in range(24)]
    for at, clock, cell in changes:
        row = rows[at % len(rows)]
        row[0], row[1] = row[0] if clock is None else clock, row[1] if cell is None else cell
    text = ["t,a", *(",".join(row) for i, row in enumerate(rows) if i not in drop)]
    data = "\n".join(text).encode("utf-8", "replace")
    if junk is not None:
        data = data[: junk[0]] + junk[1] + data[junk[0] :]
    path = tmp_path_factory.getbasetemp() / "attacked.csv"
    path.write_bytes(data)
    try:
        file = TimedFile(path=path, time_column="t", time_zone=zone, stamps=stamps)
        _, values = read_power(file, ["a"], "kW", 60, None, None)
    except DataError as error:
        assert_one_line(error)
        return
    assert values.shape == (24, 1)
    assert (values >= 0).all()
    assert values.max() < float("inf")


# --- ledgers and chains -----------------------------------------------------------------------


@given(
    name=st.sampled_from(LEDGERS),
    seed=st.integers(-(2**63), 2**63 - 1),
    load=st.floats(0, 1),
    tip=st.sampled_from([0.0, 1e-9, 1.0, 1e6]),
    slots=st.integers(1, 4),
)
@examples(25)
def test_a_transaction_is_in_exactly_one_state_and_fees_add_up(name, seed, load, tip, slots):
    ledger = ledger_sim.make(default("ledger", name))
    ledger.reset(torch.tensor([seed, 3]))
    generator = torch.Generator().manual_seed(seed % 2**31)
    waiting = torch.zeros(2, dtype=torch.int64)
    for slot in range(slots):
        draw = torch.rand(3, 2, 7, generator=generator, dtype=F64)
        sent = draw[0] < load
        receipts = ledger.step(Transactions(sent, draw[1] * 900, draw[2] * tip), 870.0)
        late = sent & ~receipts.included & receipts.latency_s.isfinite()
        waits = sent & ~receipts.latency_s.isfinite()
        assert not (receipts.included & ~sent).any()
        assert torch.equal(sent.int(), receipts.included.int() + late.int() + waits.int())
        assert receipts.latency_s[receipts.included].isfinite().all()
        waiting = waiting + waits.sum(-1)
        if receipts.earlier is not None:
            assert (receipts.earlier.slot < slot).all()
            waiting = waiting - torch.bincount(receipts.earlier.environment, minlength=2)
        assert torch.equal(receipts.backlog, waiting)
        took = receipts.burned + receipts.validator_income
        torch.testing.assert_close(receipts.fee.sum(-1), took, rtol=1e-9, atol=1e-12)
        assert receipts.fee.isfinite().all()
        assert receipts.energy_kwh.isfinite().all()


@pytest.fixture(scope="module")
def chain():
    seed = torch.tensor([11])
    ledger = ledger_sim.make(option("ledger", "block"))
    ledger.reset(seed)
    recorder = Recorder(seed, 3, ledger.slot_s)
    for slot in range(3):
        sent = torch.ones(1, 3, dtype=torch.bool)
        amount = torch.tensor([[0.5, -0.25, -0.25]], dtype=F64)
        at, tip = torch.full((1, 3), 800.0, dtype=F64), torch.zeros(1, 3, dtype=F64)
        receipts = ledger.step(Transactions(sent, at, tip), 870.0)
        recorder.record_orders(slot, sent, amount, amount, tip, at, receipts)
        recorder.record_settlement(slot, amount, torch.full_like(amount, 1e-3), 890.0)
    return recorder.chains[0]


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "delete", "insert", "copy", "cut"]),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.binary(min_size=1, max_size=300),
    ),
    min_size=1,
    max_size=3,
)


@given(edits=EDITS)
@examples(60)
def test_a_chain_that_was_changed_in_any_way_does_not_verify_against_its_tip(chain, edits):
    whole = data = chain.to_bytes()
    for kind, first, second, other in edits:
        at = first % max(len(data), 1)
        end = min(len(data), at + 1 + second % 400)
        if kind == "flip" and data:
            bit = 1 << second % 8
            data = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
        elif kind == "delete":
            data = data[:at] + data[end:]
        elif kind == "insert":
            data = data[:at] + other + data[at:]
        elif kind == "copy":
            data = data[:end] + data[at:end] + data[end:]
        elif kind == "cut":
            data = data[:at]
    assume(data != whole)
    try:
        changed = SignedChain.from_bytes(data)
    except LedgerError as error:
        assert_one_line(error)
        return
    faults = verify(changed, genesis=chain.id, tip=chain.tip)
    assert faults
    assert all(fault.what for fault in faults)


# --- days -------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**63 - 1),
    day=st.integers(-SLOTS, 40 * SLOTS),
    markets=st.integers(1, 3),
)
@examples(15)
def test_any_seed_and_day_is_played_or_refused_in_one_line(town, seed, day, markets):
    simulation = town.simulation(num_envs=markets, dtype=F64)
    try:
        observation = simulation.reset(torch.full((markets,), day), seed)
    except GridBazaarError as error:
        assert_one_line(error)
        return
    assert observation.isfinite().all()
    again = simulation.reset(torch.full((markets,), day), seed)
    assert torch.equal(observation, again)
