"""Laws of the ledgers that decide by votes: pace, messages, faults, and the check of an optimum."""

import functools
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from reference.optimality import Programme, Solution, residuals
from scipy.optimize import linprog

from gridbazaar import ledger_sim
from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.markets import MARKETS, Context, Orders
from gridbazaar.errors import ConfigError, LedgerError
from gridbazaar.ledger_sim import Transactions
from gridbazaar.ledger_sim.consensus.raft import round_trips
from gridbazaar.sourced import plain, sources
from gridbazaar.studies.ledger.configured import read

CONFIGS = Path(__file__).parents[1] / "configs" / "ledger"
BYZANTINE = ["pbft", "qbft", "dbft", "tendermint", "tendermint_pilot", "proof_of_solution"]
VOTING = [*BYZANTINE, "raft", "ripple"]
SLOT_S, DEADLINE_S, N = 900.0, 870.0, 7
F64 = torch.float64

every_ledger = pytest.mark.parametrize("name", VOTING)


def raw(name, **changes):
    """A file's values, with dictionaries merged and other entries replaced."""
    values = plain(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))
    for key, value in changes.items():
        merge = isinstance(value, dict) and key != "fees"
        values[key] = values[key] | value if merge else value
    return values


def consensus(name, **changes):
    """The consensus of a file with changes."""
    return ledger_sim.make(raw(name, **changes)).consensus


def fault(name, to_s=3 * SLOT_S + 0.5, **kinds):
    """Changes that put validators out in slots 1 and 2 of four."""
    interval_s = 20.0 if name != "raft" else 2.0
    return {
        "interval_s": interval_s,
        "background_gas_per_s": 0.0,
        "faults": [{"from_s": SLOT_S + 0.5, "to_s": to_s, **kinds}],
    }


def day(batch=8, slots=4, seed=0, seats=N):
    generator = torch.Generator().manual_seed(seed)
    draw = functools.partial(torch.rand, batch, seats, generator=generator, dtype=F64)
    return [
        Transactions(draw() < 0.9, DEADLINE_S * draw(), torch.zeros(batch, seats, dtype=F64))
        for _ in range(slots)
    ]


def run(config, days, seeds=range(8)):
    ledger = ledger_sim.make(config)
    ledger.reset(torch.as_tensor(list(seeds)))
    return [ledger.step(transactions, DEADLINE_S) for transactions in days]


@pytest.mark.parametrize(
    ("n", "messages"), [(4, 24), (7, 84), (10, 180), (13, 312), (22, 924), (40, 3120)]
)
def test_pbft_messages(n, messages):
    assert consensus("pbft", validators=n).block_messages == messages
    got = run(raw("pbft", validators=n, interval_s=900.0), day())
    assert (got[0].messages == messages).all()


@every_ledger
def test_more_validators_take_longer(name):
    # Where the quorum is the same share, rounded up alike.
    counts = {"ripple": (5, 10, 20, 40, 80, 160), "raft": (3, 5, 7, 11, 21, 41, 81)}
    chains = [
        consensus(name, validators=n, background_gas_per_s=0.0)
        for n in counts.get(name, (4, 7, 10, 13, 22, 40, 100, 175))
    ]
    for few, many in itertools.pairwise(chains):
        assert few.commit_s < many.commit_s
        assert few.block_messages < many.block_messages


@every_ledger
@pytest.mark.parametrize("factor", [0.5, 0.1])
def test_a_narrower_link_takes_longer(name, factor):
    network = raw(name)["network"]
    narrow = network | {"bandwidth_kbit_s": network["bandwidth_kbit_s"] * factor}
    far = network | {"latency_s": network["latency_s"] / factor}
    quiet = {"background_gas_per_s": 0.0}
    assert consensus(name, network=narrow, **quiet).commit_s > consensus(name).commit_s
    assert consensus(name, network=far, **quiet).commit_s > consensus(name).commit_s


def test_the_interval_has_a_knee():
    network = {"bandwidth_kbit_s": 1000.0}
    chains = [consensus("tendermint_pilot", validators=n, network=network) for n in range(20, 70)]
    intervals = [chain.interval_s for chain in chains]
    knee = next(place for place, interval_s in enumerate(intervals) if interval_s > 30)
    assert 0 < knee < len(chains) - 1
    assert all(interval_s == 30 for interval_s in intervals[:knee])
    assert intervals[knee:] == sorted(set(intervals[knee:]))
    assert all(chain.interval_s == chain.commit_s for chain in chains[knee:])


def test_an_idle_network_is_as_fast_as_its_quorums():
    """d (H_n - H_(n-k)) for each of three phases; n = 4: 3.25 delays."""
    boundless = {"latency_s": 1.0, "distance_km": 0, "bandwidth_kbit_s": float("inf")}
    idle = raw("pbft")["network"] | boundless
    assert consensus("pbft", validators=4, network=idle, signature_s=0.0).commit_s == pytest.approx(
        3 * 13 / 12
    )


@pytest.mark.parametrize("name", VOTING)
def test_without_network_and_limits_it_is_the_ideal_ledger(name):
    changes = {
        "interval_s": 0.001, "block_gas": float("inf"), "fees": {"rule": "free"}, "gas": "unit",
        "background_gas_per_s": 0.0, "signature_s": 0.0,
        "network": {
            "latency_s": 0.0, "distance_km": 0, "bandwidth_kbit_s": float("inf"),
            "submission_delay_s": 0.0,
        },
    }  # fmt: skip
    if name == "proof_of_solution":
        changes |= {"solve_s": 0.0, "verify_s": 0.0}
    days = day(slots=2)
    ideal = run({"name": "ideal", "slot_s": SLOT_S, "layers": []}, days)
    for one, other in zip(run(raw(name, **changes), days), ideal, strict=True):
        assert torch.equal(one.included, other.included)
        assert torch.equal(one.fee, other.fee)
        assert (one.latency_s[one.latency_s.isfinite()] <= 0.0011).all()


@every_ledger
def test_as_many_as_tolerated_may_crash_and_one_more_halts_it(name):
    most = consensus(name).tolerance.crashed
    assert most >= 1
    days = day()
    for got in run(raw(name, **fault(name, crashed=most)), days):
        assert not got.reverted.any()
        assert (got.messages > 0).all()
    healthy = run(raw(name, **fault(name, crashed=most) | {"faults": []}), days)
    halted = run(raw(name, **fault(name, crashed=most + 1)), days)
    for slot in (1, 2):
        assert not halted[slot].included.any()
        assert not halted[slot].messages.any()
        assert halted[slot].earlier is None or not len(halted[slot].earlier.slot)
        assert not halted[slot].fee.any()
    assert torch.equal(halted[0].included, healthy[0].included)
    assert torch.equal(halted[3].latency_s, healthy[3].latency_s)
    missed = sum(int(sent.sent.sum()) for sent in days[1:3])
    assert len(halted[3].earlier.slot) == missed
    assert (halted[3].earlier.block_s <= 60).all()
    assert not halted[3].backlog.any()
    assert (halted[1].finality_s > SLOT_S).all()
    assert (halted[3].finality_s <= 20).all()


@every_ledger
def test_cut_off_validators_count_as_crashed(name):
    chain = consensus(name)
    for count in (chain.tolerance.crashed, chain.tolerance.crashed + 1):
        assert chain.health(count, 0, 0) == chain.health(0, 0, count)


@every_ledger
def test_too_many_liars_revert_what_was_final(name):
    most = consensus(name).tolerance.lying
    if most:
        assert not any(
            got.reverted.any() for got in run(raw(name, **fault(name, lying=most)), day())
        )
    got = run(raw(name, **fault(name, 3 * SLOT_S, lying=most + 1)), day())
    assert [bool(one.reverted.all()) for one in got] == [False, True, True, False]
    assert [bool(one.reverted.any()) for one in got] == [False, True, True, False]


@pytest.mark.parametrize("name", [*BYZANTINE, "ripple"])
def test_liars_write_only_where_they_find_a_quorum(name):
    chain = consensus(name)
    n, quorum, lying = chain.config.validators, chain.quorum, chain.tolerance.lying + 1
    for crashed, cut_off in ((n - quorum, 0), (0, n - quorum), (n - quorum - 1, 1)):
        with_them = chain.health(crashed, lying, cut_off)
        assert (with_them.block_share, with_them.final, with_them.safe) == (1, False, False)
    for crashed, cut_off in ((n - quorum + 1, 0), (n - quorum, 1), (n - lying, 0)):
        halted = chain.health(crashed, lying, cut_off)
        assert (halted.block_share, halted.final, halted.safe) == (0, False, True)
    days, kinds = day(), {"crashed": n - quorum + 1, "lying": lying}
    got = run(raw(name, **fault(name, **kinds)), days)
    assert not any(one.reverted.any() for one in got)
    for slot in (1, 2):
        assert not got[slot].included.any()
        assert (got[slot].backlog > 0).all()
    assert not got[3].backlog.any()


@pytest.mark.parametrize(
    ("n", "crashed", "lying"),
    [(4, 1, 1), (6, 1, 1), (7, 2, 2), (10, 3, 3), (22, 7, 7), (40, 13, 13)],
)
@pytest.mark.parametrize("name", BYZANTINE)
def test_less_than_a_third_may_fail(name, n, crashed, lying):
    tolerance = consensus(name, validators=n).tolerance
    assert (tolerance.crashed, tolerance.lying) == (crashed, lying)
    assert 3 * tolerance.lying < n


@pytest.mark.parametrize(("n", "crashed"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)])
def test_raft_wants_a_majority_and_honesty(n, crashed):
    raft = consensus("raft", validators=n)
    assert raft.quorum == n // 2 + 1
    assert (raft.tolerance.crashed, raft.tolerance.lying) == (crashed, 0)
    assert raft.health(crashed, 0, 0).block_share == 1
    assert raft.health(crashed + 1, 0, 0).block_share == 0
    assert not raft.health(0, 1, 0).safe


@pytest.mark.parametrize(
    ("n", "quorum", "crashed", "lying"),
    [(5, 4, 1, 0), (6, 5, 1, 1), (10, 8, 2, 1), (11, 9, 2, 2), (35, 28, 7, 6)],
)
def test_ripple_wants_four_fifths(n, quorum, crashed, lying):
    ripple = consensus("ripple", validators=n)
    assert ripple.quorum == quorum >= 0.8 * n
    assert (ripple.tolerance.crashed, ripple.tolerance.lying) == (crashed, lying)
    assert ripple.tolerance.lying < n / 5
    assert not ripple.health(0, lying + 1, 0).safe


@every_ledger
def test_final_with_its_block(name):
    interval_s, commit_s = consensus(name).interval_s, consensus(name).commit_s
    for slot, got in enumerate(run(raw(name), day())):
        at_s = got.finality_s + slot * SLOT_S + DEADLINE_S
        # The settlement is written after the deadline, and its block then takes its time.
        assert (got.finality_s > commit_s - 1e-6).all()
        assert (got.finality_s <= commit_s + interval_s + 1e-6).all()
        blocks = at_s / interval_s
        torch.testing.assert_close(blocks, blocks.round(), rtol=0, atol=1e-5)


@every_ledger
def test_submission_network_and_block_are_in_order(name):
    days = day()
    commit_s, interval_s = consensus(name).commit_s, consensus(name).interval_s
    network = raw(name)["network"] | {"submission_delay_s": 0.0}
    for got in run(raw(name, network=network), days):
        latency_s = got.latency_s[got.latency_s.isfinite()]
        assert (latency_s >= commit_s - 1e-5).all()
        assert (latency_s <= commit_s + interval_s + 1e-5).all()


@every_ledger
@pytest.mark.parametrize("kinds", [{}, {"crashed": 1}, {"crashed": 2}, {"lying": 1}])
def test_a_day_does_not_depend_on_the_batch(name, kinds):
    config = raw(name, **fault(name, **kinds)) if kinds else raw(name)
    days = day()
    together = run(config, days)
    for row in (0, 5):
        alone = run(config, [_row(one, row) for one in days], [row])
        for one, many in zip(alone, together, strict=True):
            for field in ("included", "latency_s", "fee", "finality_s", "reverted", "backlog"):
                assert torch.equal(getattr(one, field)[0], getattr(many, field)[row])


def _row(transactions, row):
    keep = slice(row, row + 1)
    return Transactions(
        transactions.sent[keep], transactions.submitted_s[keep], transactions.tip[keep]
    )


@every_ledger
def test_latency_never_falls_with_the_markets_load(name):
    """The same orders, alone and among others."""
    network = raw(name)["network"] | {"submission_delay_s": 0.0}
    config = raw(
        name, gas="unit", interval_s=60.0, block_gas=5.0, background_gas_per_s=0.0, network=network
    )
    among = day(seats=60, slots=2)
    alone = [
        Transactions(one.sent & (torch.arange(60) % 7 == 0), one.submitted_s, one.tip)
        for one in among
    ]
    for few, many, sent in zip(run(config, alone), run(config, among), alone, strict=True):
        assert (many.latency_s >= few.latency_s - 1e-6)[sent.sent].all()


@pytest.mark.parametrize("name", [one for one in VOTING if one != "raft"])
def test_latency_never_falls_with_others_load(name):
    """Raft is left out: others' traffic fills its blocks, and they are cut earlier."""
    days = day(seats=60, slots=2)
    interval_s = 60.0
    latest = None
    for load in (0.0, 0.5, 0.9, 0.97):
        got = run(
            raw(name, gas="unit", interval_s=interval_s, block_gas=50.0,
                background_gas_per_s=load * 50 / interval_s),
            days,
        )  # fmt: skip
        if latest is not None:
            assert all(
                (new.latency_s >= old.latency_s - 1e-6).all()
                for new, old in zip(got[:1], latest[:1], strict=True)
            )
            assert got[-1].backlog.sum() >= latest[-1].backlog.sum()
        latest = got
    assert latest[-1].backlog.sum() > 0


def test_raft_cuts_blocks_early():
    """500 transactions fill a block before 2 s from 250 tx/s on; the leader's pace is the end."""
    idle, half, full = (consensus("raft", background_gas_per_s=r) for r in (0.0, 250.0, 1000.0))
    assert idle.interval_s == half.interval_s == 2.0
    assert full.interval_s == pytest.approx(0.5)
    pace_s = (
        full.commit_s - consensus("raft", network={"latency_s": 0.0, "distance_km": 0}).commit_s
    )
    assert pace_s > 0
    waits = [
        float(
            run(raw("raft", background_gas_per_s=r), day())[0].latency_s.nan_to_num(posinf=0).mean()
        )
        for r in (0.0, 500.0, 2000.0)
    ]
    assert waits == sorted(waits, reverse=True)
    assert waits[0] > waits[2] + 0.5
    with pytest.raises(ConfigError, match="background_gas_per_s"):
        ledger_sim.make(raw("raft", background_gas_per_s=1e5))


def test_raft_holds_more_than_a_block_between_cuts():
    """A burst of 2,000 finds four blocks within the timeout, as each is cut when it is full."""
    sent = Transactions(
        torch.ones(1, 2000, dtype=torch.bool), torch.full((1, 2000), 100.0, dtype=F64),
        torch.zeros(1, 2000, dtype=F64),
    )  # fmt: skip
    network = raw("raft")["network"] | {"submission_delay_s": 0.0}
    got = run(raw("raft", network=network), [sent], [0])[0]
    raft = consensus("raft")
    assert (got.latency_s <= raft.interval_s + raft.commit_s + 1e-6).all()


@pytest.mark.parametrize(("followers", "answers"), [(1, 1), (2, 1), (4, 2), (6, 3), (24, 12)])
def test_the_majoritys_answer_is_an_order_statistic(followers, answers):
    draw = np.random.default_rng(followers)
    both_ways = draw.exponential(size=(40_000, followers, 2)).sum(2)
    drawn = np.sort(both_ways, axis=1)[:, answers - 1]
    error = 5 * drawn.std() / np.sqrt(len(drawn))
    assert round_trips(followers, answers) == pytest.approx(drawn.mean(), abs=error)
    assert round_trips(0, 0) == 0


@pytest.mark.parametrize(("n", "silent"), [(4, 1), (7, 2), (27, 9 - 1)])
def test_silent_proposers_cost_their_timeouts(n, silent):
    """Against a walk through the turns, where every silent proposer is waited for."""
    chain = consensus("tendermint_pilot", validators=n)
    timeout_s, interval_s = chain.config.round_timeout_s, chain.interval_s
    down = set(random.Random(n).sample(range(n), silent))
    elapsed_s, blocks = 0.0, 0
    for turn in range(20 * n):
        elapsed_s += timeout_s if turn % n in down else interval_s
        blocks += turn % n not in down
    share = chain.health(silent, 0, 0).block_share
    assert share == pytest.approx(blocks * interval_s / elapsed_s)
    assert chain.health(0, 0, 0).block_share == 1
    assert consensus("pbft", validators=n).health(silent, 0, 0).block_share == 1


@pytest.mark.parametrize(
    ("name", "n", "fewest"), [(name, 3, 4) for name in BYZANTINE] + [("ripple", 4, 5)]
)
def test_too_few_validators_are_refused(name, n, fewest):
    with pytest.raises(ConfigError, match=rf"validators is {n}.*at least {fewest}"):
        ledger_sim.make(raw(name, validators=n))


@every_ledger
def test_a_block_without_end_is_refused(name):
    with pytest.raises(ConfigError, match=r"block_gas inf.*give a limit"):
        ledger_sim.make(raw(name, block_gas=float("inf")))
    with pytest.raises(ConfigError, match="signature_s"):
        ledger_sim.make(raw(name, signature_s=-1.0))


@every_ledger
def test_every_number_has_a_source(name):
    given = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    for source in sources(given):
        number = isinstance(source.value, int | float) and not isinstance(source.value, bool)
        assert source.status != "given" or not number, source.path
        assert not number or len(source.source) > 8, source.path
    assert read(name).name == given["name"]


def test_the_pilot_is_a_choice_of_its_own():
    pilot = ledger_sim.make(option("ledger", "tendermint_pilot"))
    assert (pilot.config.name, pilot.config.validators) == ("tendermint", 27)
    assert pilot.config.interval_s == 30
    assert ledger_sim.make(option("ledger", "tendermint")).config.validators == 175


@every_ledger
def test_energy_is_the_nodes_shared_by_load(name):
    """n P / throughput at the simulated load; the proposer's solving comes on top."""
    chain, got = consensus(name), run(raw(name), day())[0]
    config = chain.config
    whole = config.validators * chain.node_power_w * SLOT_S / 3.6e6
    if config.background_gas_per_s:
        assert (got.energy_kwh < whole).all()
    else:
        torch.testing.assert_close(got.energy_kwh, torch.full_like(got.energy_kwh, whole))


def test_proof_of_solution_waits_for_solving_and_checking():
    plain_vote = consensus("proof_of_solution", solve_s=0.0, verify_s=0.0)
    slow = consensus("proof_of_solution", solve_s=2.0, verify_s=0.5, interval_s=5.0)
    assert slow.commit_s == pytest.approx(plain_vote.commit_s + 2.5)
    # 2 s of every 5 s at 50 W, on top of ten nodes.
    extra_w = slow.config.validators * slow.node_power_w
    assert extra_w == pytest.approx(10 * 2.8 + 50 * 2 / 5)


def books(markets=64, seats=12, seed=3):
    draw = np.random.default_rng(seed)
    quantity = draw.uniform(-5, 5, (markets, seats))
    limit = 0.08 + 0.26 * draw.random((markets, seats))
    return quantity, limit


def auction(quantity, limit):
    """Least cost of what is sold less worth of what is bought; variables are kW traded."""
    q, p = torch.from_numpy(quantity), torch.from_numpy(limit)
    zero = torch.zeros(len(q), 1, dtype=F64)
    return Programme(
        torch.where(q > 0, p, -p), q.sign()[:, None], zero, zero, torch.zeros_like(q), q.abs()
    )


def highs(quantity, limit):
    found = [
        linprog(
            np.where(q > 0, p, -p), A_eq=np.sign(q)[None], b_eq=[0],
            bounds=np.stack([0 * q, abs(q)], 1), method="highs-ds",
        )
        for q, p in zip(quantity, limit, strict=True)
    ]  # fmt: skip
    return Solution(
        torch.tensor(np.array([one.x for one in found])),
        torch.tensor(np.array([one.eqlin.marginals for one in found])),
    )


def test_the_solvers_solution_passes_and_a_perturbed_one_fails():
    quantity, limit = books()
    programme, solution = auction(quantity, limit), highs(quantity, limit)
    assert residuals(programme, solution).optimal(1e-9).all()
    value, price = solution.value, solution.price
    traded = value.sum(1) > 0
    assert traded.sum() > 50
    less = residuals(programme, Solution(value * 0.99, price))
    assert (less.primal < 1e-9).all()
    assert (less.slackness > 1e-6)[traded].all()
    assert not less.optimal(1e-6)[traded].any()
    more = residuals(programme, Solution(value * 1.01, price))
    assert (more.primal > 1e-6)[traded].all()
    unbalanced = value.clone()
    unbalanced[:, 0] += 0.01
    assert not residuals(programme, Solution(unbalanced, price)).optimal(1e-6).any()
    wrong_price = residuals(programme, Solution(value, price + 0.3))
    assert not wrong_price.optimal(1e-6)[traded].any()
    nothing = residuals(programme, Solution(value * 0, price))
    assert not nothing.optimal(1e-6)[traded].any()
    assert not residuals(programme, Solution(value * torch.nan, price)).optimal(1e9).any()


def test_the_uniform_auction_is_the_optimum():
    """Its quantities are, at the limit of the order that is served in part."""
    quantity, limit = books()
    orders = Orders(torch.from_numpy(quantity), torch.from_numpy(limit), torch.zeros(64, 12))
    kind = MARKETS["uniform_auction"]
    ends = (torch.full((64, 1), price, dtype=F64) for price in (0.34, 0.08))
    found = kind(validate(kind.Config, option("market", "uniform_auction"))).clear(
        orders, Context(*ends, 0.25)
    )
    traded = found.cleared_kw.abs()
    partly = (traded > 1e-9) & (traded < orders.quantity_kw.abs() - 1e-9)
    trades = partly.any(1)
    assert torch.equal(trades, found.volume_kw > 0)
    assert (partly.sum(1) <= 1).all()
    price = orders.limit_price[partly][:, None]
    solution = Solution(traded[trades], price)
    programme = auction(quantity[trades.numpy()], limit[trades.numpy()])
    assert residuals(programme, solution).optimal(1e-9).all()
    assert not residuals(programme, Solution(solution.value, price + 0.1)).optimal(1e-6).any()


def test_one_sided_and_missing_bounds():
    """min x + y, x + y >= 2, x free, 0 <= y <= 1; any split costs 2 at a price of 1."""
    inf = float("inf")

    def tensor(*values):
        return torch.tensor([values], dtype=F64)

    def problem(cost, low=-inf):
        return Programme(
            tensor(*cost), torch.ones(1, 1, 2, dtype=F64), tensor(2.0), tensor(inf),
            tensor(low, 0.0), tensor(inf, 1.0),
        )  # fmt: skip

    split = Solution(tensor(1.5, 0.5), tensor(1.0))
    assert residuals(problem((1.0, 1.0)), split).optimal(1e-12).all()
    # A dearer x has a price left over that no bound of x explains.
    wrong = residuals(problem((2.0, 1.0)), split)
    assert wrong.dual.item() == pytest.approx(1 / 3)
    # At most is no reason for a positive price: the row has no upper bound.
    backwards = residuals(problem((1.0, 1.0)), Solution(tensor(1.5, 0.5), tensor(-1.0)))
    assert backwards.dual.item() > 0
    short = residuals(problem((1.0, 1.0)), Solution(tensor(0.5, 0.5), tensor(1.0)))
    assert short.primal.item() == pytest.approx(1 / 1.5)


def test_shapes_that_do_not_fit_are_refused():
    programme = auction(*books(2, 3))
    with pytest.raises(LedgerError, match=r"value has shape \(2, 4\); it must be \(2, 3\)"):
        residuals(programme, Solution(torch.zeros(2, 4), torch.zeros(2, 1)))
    with pytest.raises(LedgerError, match="matrix has shape"):
        Programme(*(torch.zeros(2, 3) for _ in range(6)))
