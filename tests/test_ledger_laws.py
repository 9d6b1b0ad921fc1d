"""What holds for every ledger that configs/ledger offers, whatever its consensus."""

import math
from pathlib import Path

import pytest
import torch
import yaml

from gridbazaar import ledger_sim
from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim import MarketTransactions, Transactions
from gridbazaar.ledger_sim.consensus.proof_of_work import ProofOfWork
from gridbazaar.ledger_sim.consensus.propagation import FIBRE_KM_PER_S
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, consensus_of
from gridbazaar.sourced import plain, sources
from gridbazaar.studies.ledger.configured import read

CONFIGS = Path(__file__).parents[1] / "configs" / "ledger"
LEDGERS = sorted(path.stem for path in CONFIGS.glob("[!_]*.yaml"))
CHAINS = [name for name in LEDGERS if isinstance(read(name), ChainConfig)]
SLOT_S, DEADLINE_S, N, B = 900.0, 870.0, 7, 6
every_ledger = pytest.mark.parametrize("name", LEDGERS)
every_chain = pytest.mark.parametrize("name", CHAINS)


def config_of(name, **changes):
    return plain(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())) | changes


def crowded(name):
    """The same ledger with room for a few orders a slot."""
    chain = read(name)
    order_gas = 1.0 if chain.gas == "unit" else 60_000.0
    per_slot = SLOT_S / consensus_of(chain).interval_s
    places = max(1.0, round(4.0 / per_slot))
    return config_of(name, block_gas=places * order_gas, background_gas_per_s=0.0)


def day(batch=B, slots=6, seed=0, start_s=300.0, seats=N):
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return torch.rand(batch, seats, generator=generator, dtype=torch.float64)

    return [
        Transactions(draw() < 0.9, start_s + (SLOT_S - start_s) * draw(), draw() * 0.01)
        for _ in range(slots)
    ]


def run(config, days, seeds=range(B)):
    ledger = ledger_sim.make(config)
    ledger.reset(torch.as_tensor(list(seeds)))
    return [ledger.step(transactions, DEADLINE_S) for transactions in days]


def market_transactions(batch=B, messages=20.0):
    one = torch.ones(batch, dtype=torch.float64)
    return MarketTransactions(
        rounds=4 * one, messages=messages * one, orders=7 * one, traders=5 * one
    )


@every_ledger
def test_every_number_says_where_it_comes_from(name):
    raw = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    bare = [
        entry.path
        for entry in sources(raw)
        if entry.status == "given" and isinstance(entry.value, int | float)
        and not isinstance(entry.value, bool)
    ]  # fmt: skip
    assert not bare
    assert not [e.path for e in sources(raw) if e.status != "given" and len(e.source) < 5]


@every_ledger
def test_states_times_and_money(name):
    for config in [config_of(name), crowded(name)] if name in CHAINS else [config_of(name)]:
        days, waiting, sent = day(), torch.zeros(B, dtype=torch.int64), 0
        for order, got in zip(days, run(config, days), strict=True):
            on_chain = got.latency_s.isfinite()
            assert not (on_chain & ~order.sent).any()
            assert not (got.included & ~on_chain).any()
            assert (got.latency_s >= 0).all()
            block_s = (order.submitted_s + got.latency_s)[on_chain]
            assert (block_s <= SLOT_S + 1e-6).all()
            assert torch.equal(got.included[on_chain], block_s <= DEADLINE_S + 1e-6)
            came = torch.zeros_like(waiting)
            if got.earlier is not None:
                came = torch.bincount(got.earlier.environment, minlength=B)
            waiting = waiting + (order.sent & ~on_chain).sum(1) - came
            assert torch.equal(got.backlog, waiting)
            torch.testing.assert_close(
                got.fee.sum(1).double(), (got.burned + got.validator_income).double(),
                rtol=1e-9, atol=1e-12,
            )  # fmt: skip
            for value in (got.fee, got.burned, got.validator_income, got.base_fee):
                assert (value >= 0).all()
            for value in (got.messages, got.energy_kwh, got.finality_s):
                assert value.isfinite().all()
                assert (value >= 0).all()
            sent += int(order.sent.sum())
        assert sent > 0


@every_ledger
def test_a_market_s_day_is_its_seed_s_alone(name):
    config, days, seeds = config_of(name), day(slots=4), [7, -3, 2**62, 0, 8, 1]
    together = run(config, days, seeds)
    for b, seed in enumerate(seeds):
        own = [
            Transactions(t.sent[b : b + 1], t.submitted_s[b : b + 1], t.tip[b : b + 1])
            for t in days
        ]
        for whole, one in zip(together, run(config, own, [seed]), strict=True):
            for field in ("included", "latency_s", "fee", "reverted", "backlog", "base_fee"):
                assert torch.equal(getattr(whole, field)[b], getattr(one, field)[0]), field
            torch.testing.assert_close(whole.finality_s[b], one.finality_s[0], rtol=0, atol=1e-6)


@every_ledger
def test_what_the_market_writes_itself_costs_time_and_money_or_neither(name):
    ledger = ledger_sim.make(config_of(name))
    ledger.reset(torch.arange(B))
    ledger.step(day()[0], DEADLINE_S)
    silent = MarketTransactions(*[torch.zeros(B, dtype=torch.float64)] * 4)
    nothing = ledger.submit_market(silent)
    assert (nothing.fee == 0).all()
    assert (nothing.transactions == 0).all()
    assert (nothing.delay_s == 0).all()
    few, many = (
        ledger.submit_market(market_transactions(messages=20.0)),
        ledger.submit_market(market_transactions(messages=2000.0)),
    )
    assert (few.transactions == 21).all()
    assert (many.fee >= few.fee).all()
    assert (many.delay_s >= few.delay_s).all()
    for got in (few, many):
        assert (got.fee >= got.burned).all()
        assert (got.burned >= 0).all()
        assert got.delay_s.isfinite().all()


@every_chain
def test_company_never_speeds_up_a_queue(name):
    config, days = crowded(name) | {"queue": "fifo"}, day(seats=25)
    few = [Transactions(t.sent & (torch.arange(25) < 6), t.submitted_s, t.tip) for t in days]
    slower = False
    for light, heavy in zip(run(config, few), run(config, days), strict=True):
        assert (heavy.latency_s[:, :6] >= light.latency_s[:, :6] - 1e-6).all()
        slower |= bool((heavy.latency_s[:, :6] > light.latency_s[:, :6]).any())
    # One that cuts a block whenever there is something to put in is not slowed by so few.
    assert slower or name in ("pbft", "raft")


@every_chain
def test_a_higher_tip_never_delays(name):
    config = crowded(name) | {"queue": "tip"}
    days = day(slots=3)
    before = run(config, days)[-1].latency_s
    last = days[-1]
    raised = Transactions(last.sent, last.submitted_s, last.tip.clone())
    raised.tip[:, 4] += 0.5
    after = run(config, [*days[:-1], raised])[-1].latency_s
    assert (after[:, 4] <= before[:, 4]).all()


@every_chain
def test_faults_up_to_the_bound_are_borne_and_beyond_it_are_not(name):
    consensus = consensus_of(read(name))
    tolerance, n = consensus.tolerance, consensus.config.validators
    assert 0 <= tolerance.lying <= n
    assert tolerance.beyond
    borne = consensus.health(tolerance.crashed, 0, 0)
    assert borne.block_share > 0
    assert borne.final
    assert borne.safe
    assert consensus.health(0, tolerance.lying, 0).safe
    if tolerance.crashed < n:
        broken = consensus.health(min(tolerance.crashed + 1, n), 0, 0)
        assert broken.block_share < borne.block_share or not broken.final or not broken.safe
    if tolerance.lying < n:
        lied = consensus.health(0, tolerance.lying + 1, 0)
        assert not (lied.safe and lied.final)
    shares = [consensus.health(k, 0, 0).block_share for k in range(n + 1)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0


@every_chain
def test_an_outage_of_all_halts_the_ledger_and_it_recovers(name):
    chain = read(name)
    outage = {"from_s": 1 * SLOT_S, "to_s": 3 * SLOT_S + 1, "crashed": chain.validators}
    days = day(slots=12, start_s=0.0)
    got = run(config_of(name, faults=[outage]), days)
    for slot in (1, 2):
        assert not got[slot].latency_s.isfinite().any()
        assert (got[slot].backlog > 0).all()
    assert got[-1].latency_s.isfinite().any()
    assert (got[-1].backlog < got[2].backlog).all() or (got[-1].backlog == 0).all()
    assert (got[1].finality_s >= SLOT_S).all()


@every_chain
def test_validators_below_the_minimum_are_refused(name):
    consensus = consensus_of(read(name))
    if consensus.minimum_validators > 1:
        with pytest.raises(ConfigError, match="validators"):
            ledger_sim.make(config_of(name, validators=consensus.minimum_validators - 1))
    with pytest.raises(ConfigError, match="validators"):
        ledger_sim.make(config_of(name, validators=0))


@every_chain
def test_what_a_ledger_was_built_from_rebuilds_it(name):
    built = consensus_of(read(name))
    again = consensus_of(built.config)
    assert again.config == built.config
    assert (again.interval_s, again.commit_s) == (built.interval_s, built.commit_s)


@pytest.mark.parametrize("name", [one for one in CHAINS if one != "block"])
def test_farther_validators_take_longer(name):
    """As far apart as the Earth and the Moon, they agree later, and the same orders come later."""
    configs = [
        config_of(name, background_gas_per_s=0.0, network=config_of(name)["network"] | far)
        for far in ({"distance_km": 0}, {"distance_km": 384_400})
    ]
    near, far = (ledger_sim.make(config).consensus for config in configs)
    one_way_s = 384_400 / FIBRE_KM_PER_S
    assert far.commit_s - near.commit_s >= one_way_s * 0.99
    assert far.interval_s >= near.interval_s
    if isinstance(near, ProofOfWork):
        assert far.stale_share > near.stale_share or name == "proof_of_capacity"
    days = day(batch=40, slots=4)
    waits = [
        sum(float(got.latency_s.clamp(max=SLOT_S)[orders.sent].sum()) for orders, got in
            zip(days, run(config, days, range(40)), strict=True))
        for config in configs
    ]  # fmt: skip
    assert waits[1] > waits[0]


@every_chain
def test_bad_parameters_say_what_is_allowed(name):
    validators = read(name).validators
    for changes, says in (
        ({"block_gas": 0}, "block_gas"),
        ({"interval_s": -1}, "interval_s"),
        ({"transaction_energy_kwh": -1e-3}, "transaction_energy_kwh"),
        ({"fees": {"rule": "fixed", "price": -1, "burned_share": 0}}, "price"),
        ({"faults": [{"from_s": 5, "to_s": 1, "crashed": 1}]}, "to_s"),
        ({"faults": [{"from_s": 0, "to_s": 9, "crashed": 1}, {"from_s": 20, "to_s": 30, "lying": 1},
                     {"from_s": 8, "to_s": 20, "crashed": 1}]},
         "from 0 to 9 s and that from 8 to 20 s overlap; give one event for each stretch"),
        ({"faults": [{"from_s": 0, "to_s": 9, "crashed": 1, "cut_off": validators}]},
         rf"crashed 1 \+ cut_off {validators} of {validators} validators"),
        ({"interval_s": {"value": 5, "unit": "min", "source": "a book", "status": "published"}},
         "it is in 's'"),
        ({"interval_s": {"value": 5, "unit": "s", "source": "a book", "status": "sure"}},
         "status 'sure'"),
        ({"interval_s": {"value": 5, "unit": "s", "status": "published"}}, "no source"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=says):
            ledger_sim.make(config_of(name, **changes))


@every_chain
def test_a_settlement_is_proposed_after_the_deadline_and_then_takes_its_time(name):
    ledger = ledger_sim.make(config_of(name))
    ledger.reset(torch.arange(B))
    commit_s = ledger.consensus.commit_s
    for orders in day(slots=3):
        assert (ledger.step(orders, DEADLINE_S).finality_s > commit_s - 1e-6).all()


@every_chain
def test_liars_that_are_gone_before_the_deadline_leave_the_slot_alone(name):
    quiet = {"attacker_share": 0.0} if "attacker_share" in config_of(name) else {}
    if "reorganisation_probability" in config_of(name):
        quiet = {"reorganisation_probability": 0.0}
    lying = read(name).validators
    for from_s, to_s, lost in ((0, SLOT_S + 1, [0]), (SLOT_S + 860, SLOT_S + 880, [1])):
        liars = [{"from_s": from_s, "to_s": to_s, "lying": lying}]
        got = run(config_of(name, faults=liars, **quiet), day(slots=3))
        for slot in range(3):
            unfinal = slot * SLOT_S + DEADLINE_S + got[slot].finality_s > from_s
            touched = unfinal & (slot * SLOT_S + DEADLINE_S < to_s)
            assert torch.equal(got[slot].reverted, touched)
        assert all(got[slot].reverted.all() for slot in lost)
        assert not got[2].reverted.any()


@every_chain
def test_messages_are_those_of_the_blocks_that_are_made(name):
    config, orders = config_of(name, background_gas_per_s=0.0), day(slots=1)[0]
    consensus = consensus_of(read(name))
    nobody = Transactions(orders.sent & False, orders.submitted_s, orders.tip)
    idle, busy = run(config, [nobody])[0], run(config, [orders])[0]
    assert consensus.empty_blocks == (name not in ("pbft", "raft"))
    if consensus.empty_blocks:
        assert torch.equal(idle.messages, busy.messages)
    else:
        assert not idle.messages.any()
        times = (orders.submitted_s + busy.latency_s).mul(1e6).round()
        blocks = [len(row[row.isfinite()].unique()) for row in times]
        assert (busy.messages / consensus.block_messages).round().tolist() == blocks


@every_ledger
def test_what_is_sent_in_good_time_comes_in_by_the_deadline(name):
    """At least 98 of 100 orders that are sent `lead_s` before it, where blocks have room."""
    ledger, batch = ledger_sim.make(config_of(name)), 400
    ledger.reset(torch.arange(batch))
    lead_s = ledger.lead_s(DEADLINE_S)
    # What must be sent before its slot begins is held against the deadline of a later one.
    ahead = math.ceil(max(lead_s - DEADLINE_S, 0) / SLOT_S)
    sent_s = torch.full((batch, N), ahead * SLOT_S + DEADLINE_S - lead_s).double()
    sent = torch.ones(batch, N, dtype=torch.bool)
    in_time = torch.zeros_like(sent)
    for slot in range(ahead + 1):
        got = ledger.step(
            Transactions(sent & (slot == 0), sent_s, torch.ones(batch, N)), DEADLINE_S
        )
        by_s = DEADLINE_S if slot == ahead else SLOT_S
        in_time |= sent_s + got.latency_s <= by_s + 1e-6
        if got.earlier is not None:
            in_time[got.earlier.environment, got.earlier.seat] |= got.earlier.block_s <= by_s
    assert in_time.double().mean() >= 0.98
