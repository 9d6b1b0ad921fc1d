"""Laws of every ledger: one state per transaction, causality, money, monotony, no luck by batch."""

import itertools
from pathlib import Path

import pytest
import torch
import yaml

from gridbazaar import ledger_sim
from gridbazaar.errors import ConfigError, LedgerError, UnknownNameError
from gridbazaar.ledger_sim import Receipts, Transactions
from gridbazaar.sourced import plain
from gridbazaar.studies.ledger.configured import read

CONFIGS = Path(__file__).parents[1] / "configs" / "ledger"
SLOT_S, DEADLINE_S, N = 900.0, 870.0, 11
FIXED = {"rule": "fixed", "price": 0.25, "burned_share": 0.3}
BUSY = {
    "interval_s": 35.0,
    "block_gas": 3.0,
    "background_gas_per_s": 0.5 / 35.0,
    "fees": FIXED,
}
VARIANTS = [{}, {"queue": "tip"}, BUSY, BUSY | {"queue": "tip"}]


def block_config(**changes):
    return plain(yaml.safe_load((CONFIGS / "block.yaml").read_text())) | changes


def delayed(submission_delay_s):
    return block_config()["network"] | {"submission_delay_s": submission_delay_s}


def run(config, days, seeds):
    """Receipts of one day per seed."""
    ledger = ledger_sim.make(config)
    ledger.reset(torch.as_tensor(seeds))
    return [ledger.step(transactions, DEADLINE_S) for transactions in days]


def day(batch=16, slots=12, seed=0, start_s=700.0, dtype=torch.float64, seats=N):
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return torch.rand(batch, seats, generator=generator, dtype=torch.float64).to(dtype)

    return [
        Transactions(draw() < 0.9, start_s + (SLOT_S - start_s) * draw(), (draw() * 4).round() / 4)
        for _ in range(slots)
    ]


def rows(transactions, keep):
    return Transactions(
        transactions.sent[keep], transactions.submitted_s[keep], transactions.tip[keep]
    )


def same(one: Receipts, other: Receipts):
    fields = ("included", "latency_s", "fee", "finality_s", "reverted", "backlog")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in fields)


@pytest.mark.parametrize("changes", VARIANTS)
def test_each_transaction_is_in_one_state_and_none_is_lost(changes):
    days = day()
    waiting_before = torch.zeros(16, dtype=torch.int64)
    open_orders = set()
    for slot, (sent, got) in enumerate(
        zip(days, run(block_config(**changes), days, range(16)), strict=True)
    ):
        on_chain = got.latency_s.isfinite()
        assert not (on_chain & ~sent.sent).any()
        assert not (got.included & ~on_chain).any()
        own_waiting = sent.sent & ~on_chain
        open_orders |= {(b, slot, i) for b, i in own_waiting.nonzero().tolist()}
        came = 0
        if got.earlier is not None:
            e = got.earlier
            listed = list(
                zip(e.environment.tolist(), e.slot.tolist(), e.seat.tolist(), strict=True)
            )
            assert len(set(listed)) == len(listed)
            assert set(listed) <= open_orders
            open_orders -= set(listed)
            came = torch.bincount(e.environment, minlength=16)
        assert torch.equal(got.backlog, waiting_before + own_waiting.sum(1) - came)
        waiting_before = got.backlog
    assert len(open_orders) == waiting_before.sum()


@pytest.mark.parametrize("changes", VARIANTS)
def test_fees_paid_are_burned_or_earned_by_validators(changes):
    config = block_config(**changes)
    days = day()
    charged = 0.0
    for sent, got in zip(days, run(config, days, range(16)), strict=True):
        paid = got.burned + got.validator_income
        torch.testing.assert_close(got.fee.sum(1), paid, rtol=0, atol=1e-12)
        quiet = ~got.latency_s.isfinite()
        if got.earlier is None:
            assert (got.fee[quiet] == 0).all()
            expected = config["fees"]["price"] + (sent.tip if config["queue"] == "tip" else 0.0)
            assert torch.equal(
                got.fee, torch.where(quiet, 0.0, got.base_fee[:, None] * 0 + expected)
            )
        charged += float(paid.sum())
    assert charged > 0


@pytest.mark.parametrize("changes", VARIANTS)
def test_submission_block_and_finality_are_in_order(changes):
    config = block_config(**changes)
    days = day()
    for sent, got in zip(days, run(config, days, range(16)), strict=True):
        on_chain = got.latency_s.isfinite()
        assert (got.latency_s >= 0).all()
        block_s = (sent.submitted_s + got.latency_s)[on_chain]
        assert (block_s <= SLOT_S + 1e-6).all()
        assert torch.equal(got.included[on_chain], block_s <= DEADLINE_S + 1e-6)
        assert (got.finality_s > 0).all()
        assert (got.finality_s <= (1 + config["confirmations"]) * config["interval_s"] + 1e-9).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_fast_free_boundless_chain_is_the_ideal_ledger(dtype):
    limit = block_config(
        interval_s=0.001, block_gas=float("inf"), fees={"rule": "free"}, network=delayed(0.0),
        confirmations=0,
    )  # fmt: skip
    days = day(batch=200, slots=4, start_s=860.0, dtype=dtype)
    days[0].submitted_s[:, :3] = torch.tensor([0.0, DEADLINE_S, SLOT_S], dtype=dtype)
    ideal = run({"name": "ideal", "slot_s": SLOT_S, "layers": []}, days, range(200))
    for one, other in zip(run(limit, days, range(200)), ideal, strict=True):
        assert torch.equal(one.included, other.included)
        assert torch.equal(one.fee, other.fee)
        assert one.fee.dtype == other.fee.dtype == dtype
        assert one.latency_s.dtype == other.latency_s.dtype == dtype
        assert (one.latency_s[one.latency_s.isfinite()] <= 0.001 + 1e-4).all()
        assert (one.finality_s <= 0.001 + 1e-9).all()
        assert not one.backlog.any()


@pytest.mark.parametrize("queue", ["fifo", "tip"])
def test_latency_never_falls_with_load(queue):
    days = day(start_s=800.0)
    total = []
    for load in (0.0, 0.1, 0.17, 0.2):
        config = block_config(interval_s=20.0, block_gas=5, background_gas_per_s=load, queue=queue)
        total.append([got.latency_s for got in run(config, days, range(16))])
    for light, heavy in itertools.pairwise(total):
        for less, more in zip(light, heavy, strict=True):
            assert (more >= less).all()
    assert not torch.equal(total[0][3], total[-1][3])


def test_a_higher_tip_never_delays_inclusion():
    config = block_config(queue="tip", interval_s=20.0, block_gas=2, background_gas_per_s=0.5 / 20)
    days = day(batch=64, slots=3, start_s=800.0)
    before = run(config, days, range(64))[-1].latency_s
    raised = rows(days[-1], slice(None))
    raised.tip[:, 4] += 0.5
    after = run(config, [*days[:-1], raised], range(64))[-1].latency_s
    assert (after[:, 4] <= before[:, 4]).all()
    assert (after[:, 4] < before[:, 4]).any()


@pytest.mark.parametrize("changes", [*VARIANTS, {"reorganisation_probability": 0.3}])
def test_a_batch_equals_its_environments_alone(changes):
    config = block_config(**changes)
    days = day(batch=5, slots=9)
    seeds = [7, -3, 2**62, 0, 8]
    batch = run(config, days, seeds)
    again = run(config, days, seeds)
    assert all(same(one, other) for one, other in zip(batch, again, strict=True))
    for b, seed in enumerate(seeds):
        alone = run(config, [rows(t, slice(b, b + 1)) for t in days], [seed])
        for whole, one in zip(batch, alone, strict=True):
            assert torch.equal(whole.latency_s[b], one.latency_s[0])
            assert torch.equal(whole.fee[b], one.fee[0])
            assert torch.equal(whole.reverted[b], one.reverted[0])
            assert whole.backlog[b] == one.backlog[0]


def test_reset_leaves_nothing_of_the_day_before():
    days = day(slots=5)
    ledger = ledger_sim.make(block_config(**BUSY))
    fresh = run(block_config(**BUSY), days, range(16))
    ledger.reset(torch.arange(100, 116))
    for transactions in day(slots=7, seed=1):
        ledger.step(transactions, DEADLINE_S)
    ledger.reset(torch.arange(16))
    assert all(
        same(ledger.step(transactions, DEADLINE_S), expected)
        for transactions, expected in zip(days, fresh, strict=True)
    )


def test_no_seat_is_favoured_where_claims_are_equal():
    config = block_config(interval_s=900.0, block_gas=1, network=delayed(0.0))
    everyone = Transactions(torch.ones(1, 4, dtype=bool), torch.zeros(1, 4), torch.zeros(1, 4))
    first = []
    for slot in range(8):
        ledger = ledger_sim.make(config)
        ledger.reset(torch.tensor([3]))
        nobody = Transactions(everyone.sent & False, everyone.submitted_s, everyone.tip)
        for _ in range(slot):
            ledger.step(nobody, SLOT_S)
        first.append(int(ledger.step(everyone, SLOT_S).included[0].nonzero()))
    assert sorted(first) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_reorganisations_come_at_their_probability():
    got = run(block_config(reorganisation_probability=0.2), day(4000, 10, seats=1), range(4000))
    share = torch.stack([r.reverted for r in got]).double().mean()
    assert abs(share - 0.2) < 4 * (0.16 / 40000) ** 0.5


def test_submission_delay_has_its_mean():
    fine = block_config(interval_s=0.01, network=delayed(2.0), block_gas=float("inf"))
    sent = Transactions(torch.ones(2000, 5, dtype=bool), torch.zeros(2000, 5), torch.zeros(2000, 5))
    latency = torch.cat([r.latency_s for r in run(fine, [sent] * 4, range(2000))])
    assert abs(latency.double().mean() - 2.005) < 4 * 2 / 40000**0.5


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"block_gas": 0}, r"ledger\.block_gas is 0.*greater than or equal to 1"),
        ({"block_gas": float("nan")}, "block_gas"),
        ({"fees": FIXED | {"price": -0.1}}, r"ledger\.fees\.price is -0\.1"),
        ({"fees": FIXED | {"price": float("inf")}}, "finite"),
        ({"fees": FIXED | {"rule": "fixt"}}, "unknown fee rule 'fixt': did you mean 'fixed'"),
        ({"fees": FIXED | {"pice": 1}}, "did you mean 'price'"),
        ({"interval_s": 0}, r"ledger\.interval_s"),
        ({"interval": 5}, "did you mean 'interval_s'"),
        ({"queue": "lifo"}, "'fifo' or 'tip'"),
        ({"name": "blok"}, "unknown ledger 'blok': did you mean 'block'"),
        ({"background_gas_per_s": 10.0}, "must leave room"),
        ({"fees": FIXED | {"burned_share": 1.5}}, "burned_share"),
        ({"confirmations": -1}, "confirmations"),
    ],
)
def test_a_wrong_configuration_says_what_is_allowed(changes, says):
    with pytest.raises((ConfigError, UnknownNameError), match=says):
        ledger_sim.make(block_config(**changes))


def test_a_missing_parameter_or_name_is_named():
    config = block_config()
    del config["fees"]["price"]
    with pytest.raises(ConfigError, match=r"ledger\.fees\.price is missing"):
        ledger_sim.make(config)
    with pytest.raises(ConfigError, match=r"ledger\.name is missing"):
        ledger_sim.make({})


def test_broken_files_are_named(tmp_path):
    path = tmp_path / "broken.yaml"
    for text, says in (
        ("name: [", "not valid YAML"),
        ("- name", "must be a mapping"),
        ("name: ideal\nname: block", "not valid YAML.*'name' stands there twice"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=says) as caught:
            read(str(path))
        assert "broken.yaml" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ideal", "block"])
@pytest.mark.parametrize("deadline_s", [0.0, -1.0, 901.0, float("nan")])
def test_a_deadline_outside_the_slot_is_refused(name, deadline_s):
    ledger = ledger_sim.make(read(name))
    ledger.reset(torch.arange(16))
    with pytest.raises(LedgerError, match="deadline_s is"):
        ledger.step(day(slots=1)[0], deadline_s)


@pytest.mark.parametrize("name", ["ideal", "block"])
@pytest.mark.parametrize(
    ("field", "value"),
    [("tip", float("nan")), ("tip", -1.0), ("tip", float("inf")), ("submitted_s", 901.0),
     ("submitted_s", -0.5), ("submitted_s", float("nan"))],
)  # fmt: skip
def test_impossible_times_and_tips_are_refused(name, field, value):
    ledger = ledger_sim.make(read(name))
    ledger.reset(torch.arange(16))
    transactions = day(slots=1)[0]
    getattr(transactions, field)[3, 2] = value
    with pytest.raises(LedgerError, match=rf"{field}\[3, 2\] is"):
        ledger.step(transactions, DEADLINE_S)


def test_wrong_shapes_types_and_order_of_calls_are_refused():
    good = day(slots=1)[0]
    with pytest.raises(LedgerError, match="share one shape"):
        Transactions(good.sent, good.submitted_s[:, 1:], good.tip)
    with pytest.raises(LedgerError, match=r"torch\.bool"):
        Transactions(good.tip, good.submitted_s, good.tip)
    ledger = ledger_sim.make(block_config())
    with pytest.raises(LedgerError, match="before reset"):
        ledger.step(good, DEADLINE_S)
    with pytest.raises(LedgerError, match=r"torch\.int64"):
        ledger.reset(torch.zeros(3))
    ledger.reset(torch.arange(3))
    with pytest.raises(LedgerError, match="16 environments"):
        ledger.step(good, DEADLINE_S)
    ledger.reset(torch.arange(16))
    ledger.step(good, DEADLINE_S)
    with pytest.raises(LedgerError, match="4 accounts"):
        ledger.step(day(slots=1, seats=4)[0], DEADLINE_S)


def test_the_registry_lists_and_guards_its_names():
    assert {"ideal", "block"} <= set(ledger_sim.LEDGERS.names())
    assert all(ledger_sim.LEDGERS.describe().values())
    with pytest.raises(ValueError, match="registered twice"):
        ledger_sim.LEDGERS.register("ideal")(object)
