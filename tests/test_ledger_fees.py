"""Fee rules that follow the load, alone and on chains: who pays, who gets it, what a tip buys."""

from pathlib import Path

import pytest
import torch
import yaml
from reference.base_fee import next_base_fee

from gridbazaar import ledger_sim
from gridbazaar.errors import ConfigError, LedgerError, UnknownNameError
from gridbazaar.ledger_sim import Transactions
from gridbazaar.ledger_sim.fees.eip1559 import MOST_BASE_FEE
from gridbazaar.ledger_sim.fees.protocol import Usage, make
from gridbazaar.sourced import plain

CONFIGS = Path(__file__).parents[1] / "configs" / "ledger"
GWEI = 10**9
LIMIT = 60e6
ETHEREUM = {"rule": "eip1559", "base_fee_wei": GWEI, "eur_per_coin": 2000.0}
XRPL = {
    "rule": "load_escalated", "price": 10.0, "soft_limit": 6, "multiplier": 500.0,
    "burned_share": 1.0,
}  # fmt: skip


def usage(gas, exists=None, background=0.0, limit=LIMIT, waiting=None):
    gas = torch.as_tensor(gas, dtype=torch.float64)
    exists = torch.ones_like(gas, dtype=torch.bool) if exists is None else torch.as_tensor(exists)
    waiting = gas.new_zeros(len(gas)) if waiting is None else torch.as_tensor(waiting)
    return Usage(gas, exists, waiting, background, limit)


def started(config, batch=1):
    rule = make(config)
    rule.reset(torch.arange(batch))
    return rule


def stake(**changes):
    config = plain(yaml.safe_load((CONFIGS / "proof_of_stake.yaml").read_text()))
    return config | {"missed_share": 0.0, "fees": ETHEREUM} | changes


def days(batch=8, slots=3, seats=41, start_s=300.0, gas=None):
    generator = torch.Generator().manual_seed(0)

    def draw():
        return torch.rand(batch, seats, generator=generator, dtype=torch.float64)

    return [
        Transactions(
            draw() < 0.9,
            start_s + (870 - start_s) * draw(),
            (draw() * 4).round() / 400,
            None if gas is None else torch.full((batch, seats), float(gas)),
        )
        for _ in range(slots)
    ]


def run(config, transactions):
    ledger = ledger_sim.make(config)
    ledger.reset(torch.arange(len(transactions[0].sent)))
    return [ledger.step(t, 870.0) for t in transactions]


def test_base_fee_of_ten_full_and_ten_empty_blocks():
    rule = started(ETHEREUM, 2)
    charge = rule.charge(usage([[LIMIT] * 10, [0.0] * 10]))
    full, empty = (charge.now / 2000e-18).tolist()
    assert full == pytest.approx(3_247_321_023, rel=1e-15)
    # Without own transactions the wei are rounded once, not block by block.
    assert empty == pytest.approx(263_075_578, abs=10)
    assert (charge.price[:, 0] == GWEI * 2000e-18).all()
    assert (charge.price[0].diff() > 0).all()


def test_base_fee_goes_on_from_slot_to_slot_and_starts_anew_each_day():
    gas = 60e6 * torch.rand(5, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole, parts = started(ETHEREUM, 5), started(ETHEREUM, 5)
    once = whole.charge(usage(gas))
    twice = [parts.charge(usage(half)) for half in (gas[:, :5], gas[:, 5:])]
    assert torch.equal(once.price, torch.cat([c.price for c in twice], 1))
    assert torch.equal(once.now, twice[1].now)
    whole.reset(torch.arange(5))
    assert torch.equal(whole.charge(usage(gas)).price, once.price)


def test_missed_blocks_leave_the_base_fee_and_others_yield_to_it():
    rule = started(ETHEREUM, 2)
    charge = rule.charge(
        usage(
            [[0.0, 30e6, 5.0], [0.0, 0.0, 0.0]],
            [[True, True, True], [False, False, False]],
            background=30e6,
        )
    )
    assert (charge.price[1] == GWEI * 2000e-18).all()
    assert charge.now[1] == GWEI * 2000e-18
    torch.testing.assert_close(
        charge.price[0] / 2000e-18, torch.tensor([1.0, 1.0, 1.125], dtype=torch.float64) * GWEI
    )
    # At nine eighths of the price others take eight ninths of the target.
    used = round(30_000_000 * 8 / 9) + 5
    fall = 1_125_000_000 * (30_000_000 - used) // 30_000_000 // 8
    assert round(float(charge.now[0] / 2000e-18)) == 1_125_000_000 - fall


def test_sustained_load_holds_a_higher_base_fee_until_it_ends():
    target, shares = 30e6, torch.tensor([0.0, 0.01, 0.1, 0.5, 0.9], dtype=torch.float64)
    rule = started(ETHEREUM, len(shares))
    loaded = usage((shares * target).unsqueeze(1).expand(-1, 75), background=target)
    held = [rule.charge(loaded).now / 2000e-18 for _ in range(20)][-2:]
    torch.testing.assert_close(held[1], GWEI / (1 - shares), rtol=1e-6, atol=0)
    torch.testing.assert_close(held[1], held[0], rtol=1e-6, atol=0)
    assert (held[1].diff() > 0).all()
    idle = usage(torch.zeros(len(shares), 75), background=target)
    after = [rule.charge(idle).now / 2000e-18 for _ in range(3)]
    assert (after[0] <= held[1]).all()
    torch.testing.assert_close(after[-1], torch.full_like(shares, GWEI), rtol=1e-9, atol=0)


def test_the_way_back_is_that_of_the_rule_block_by_block():
    rule = started(ETHEREUM)
    raised = rule.charge(usage([[30e6] * 6], background=30e6)).now
    base_fee = (raised / 2000e-18).round().long()
    now = rule.charge(usage([[0.0] * 9], background=30e6)).now
    for _ in range(9):
        others = (30e6 * GWEI / base_fee).round().long()
        base_fee = next_base_fee(base_fee, others, 30_000_000)
    torch.testing.assert_close(now / 2000e-18, base_fee.double(), rtol=1e-7, atol=0)


def test_a_chain_full_of_own_orders_never_passes_the_range():
    # What others leave is the target at most, and they yield: the base fee grows block by block
    # by an eighth of its level, not of itself.
    rule = started(ETHEREUM)
    full = usage([[30e6] * 75], background=30e6)
    for _ in range(96):
        now = rule.charge(full).now
    assert float(now / 2000e-18) == pytest.approx(GWEI * (1 + 96 * 75 / 8), rel=1e-6)


def test_base_fee_beyond_its_range_says_why():
    rule = started(ETHEREUM)
    with pytest.raises(LedgerError, match=rf"passes {MOST_BASE_FEE} wei.*send fewer"):
        rule.charge(usage([[LIMIT] * 200]))
    for limit in (float("inf"), 1.0, 2.0**31):
        with pytest.raises(ConfigError, match=r"block_gas is .* aims at half"):
            started(ETHEREUM).charge(usage([[0.0]], limit=limit))


def test_an_order_of_50_000_gas_at_one_gwei_costs_ten_cents():
    # 50,000 gas x 1e9 wei/gas = 5e13 wei = 5e-5 coins of 2,000 EUR.
    sent = Transactions(
        torch.tensor([[True, False]]), torch.full((1, 2), 887.0).double(),
        torch.zeros(1, 2).double(), torch.full((1, 2), 5e4).double(),
    )  # fmt: skip
    got = run(stake(), [sent])[0]
    torch.testing.assert_close(got.fee, torch.tensor([[0.1, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(got.burned, torch.tensor([0.1], dtype=torch.float64))
    nobody = Transactions(sent.sent & False, sent.submitted_s, sent.tip)
    # The slot's last block stood above the target by these 50,000: one part in 8 x 600.
    rise = got.base_fee / run(stake(), [nobody])[0].base_fee
    assert float(rise) == pytest.approx(1 + 1 / 4800, rel=1e-9)


def test_the_base_fee_is_burned_and_the_tip_earned():
    for sent, got in zip(days(), run(stake(), days()), strict=True):
        on_chain = got.latency_s.isfinite()
        torch.testing.assert_close(got.fee.sum(1), got.burned + got.validator_income)
        torch.testing.assert_close(got.validator_income, (sent.tip * on_chain).sum(1))
        assert (got.burned > 0).all()


def test_base_fee_rises_under_load_and_falls_when_blocks_are_empty():
    busy = run(stake(background_gas_per_s=2_600_000), days())
    even = run(stake(), days())
    empty = run(stake(background_gas_per_s=0), days())
    for slot in range(3):
        assert (busy[slot].base_fee > even[slot].base_fee).all()
        assert (empty[slot].base_fee < even[slot].base_fee).all()
    torch.testing.assert_close(busy[2].base_fee / even[2].base_fee, torch.full((8,), 1.04).double(),
                               rtol=1e-4, atol=0)  # fmt: skip
    assert (empty[2].base_fee < empty[0].base_fee).all()


CROWDED = {
    "proof_of_stake": {"background_gas_per_s": 0, "block_gas": 200_000, "interval_s": 60.0},
    "proof_of_work": {"background_gas_per_s": 0, "block_gas": 2, "interval_s": 60.0},
    "proof_of_capacity": {"background_gas_per_s": 0, "block_gas": 1},
    "proof_of_authority": {"block_gas": 200_000, "interval_s": 60.0},
}


@pytest.mark.parametrize("name", CROWDED)
def test_a_higher_tip_never_delays(name):
    config = plain(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())) | CROWDED[name]
    before = run(config, days(64, 1, 23))[0].latency_s
    raised = days(64, 1, 23)
    raised[0].tip[:, 4] += 0.005
    after = run(config, raised)[0].latency_s
    assert (after[:, 4] <= before[:, 4]).all()
    assert (after[:, 4] < before[:, 4]).any()


@pytest.mark.parametrize("name", CROWDED)
def test_what_is_paid_is_burned_or_earned_under_a_backlog(name):
    config = plain(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())) | CROWDED[name]
    transactions = days(16, 4, 23)
    got = run(config, transactions)
    paid = torch.stack([r.fee.sum(1) for r in got])
    kept = torch.stack([r.burned + r.validator_income for r in got])
    torch.testing.assert_close(paid, kept, rtol=1e-9, atol=1e-12)
    assert any(r.earlier is not None for r in got)


def test_escalation_follows_the_documented_example():
    # rippled, "Fees": limit 6, base 10 drops: 8th about 6,800 drops, 20th about 50,000.
    counts = torch.arange(1.0, 31.0, dtype=torch.float64)
    charge = started(XRPL).charge(usage(counts[:, None]))
    total = charge.price[:, 0] * counts
    each = torch.cat([total[:1], total.diff()])
    torch.testing.assert_close(each[:7], torch.full_like(each[:7], 10.0))
    assert float(each[7]) == pytest.approx(6805.6, abs=0.1)
    assert float(each[19]) == pytest.approx(50_139, abs=1)
    # Limit 24 and a median level of 322,000 of 256: 25 transactions pay 10, the 26th about 13,649.
    later = XRPL | {"soft_limit": 24, "multiplier": 322_000 / 256}
    total = started(later).charge(usage([[25.0], [26.0]])).price[:, 0] * torch.tensor([25.0, 26.0])
    assert float(total[0]) == pytest.approx(250)
    assert float(total[1] - total[0]) == pytest.approx(13_649, rel=1e-3)


def test_escalated_price_never_falls_with_load_and_is_quoted_for_the_next_block():
    load = torch.linspace(0, 100, 400, dtype=torch.float64)[:, None]
    rule = started(XRPL)
    charge = rule.charge(usage(load, waiting=load[:, 0]))
    assert (charge.price[:, 0].diff() >= -1e-9).all()
    assert (charge.now.diff() >= 0).all()
    assert (charge.now[load[:, 0] <= 6] == 10).all()
    assert float(charge.now[-1]) == pytest.approx(10 * 500 * (100 / 6) ** 2)
    background = rule.charge(usage(torch.zeros(1, 1), background=100.0)).price
    torch.testing.assert_close(background, charge.price[-1:])


def test_a_crowd_pays_more_each_on_a_chain_with_escalation():
    config = plain(yaml.safe_load((CONFIGS / "block.yaml").read_text()))
    fees = XRPL | {"price": 1e-4, "burned_share": 0.6}
    few, many = (
        run(config | {"fees": fees}, days(8, 2, seats, start_s=860.0)) for seats in (3, 41)
    )
    for less, more in zip(few, many, strict=True):
        paid = [r.fee[r.latency_s.isfinite()].mean() for r in (less, more)]
        assert paid[1] > 100 * paid[0]
        torch.testing.assert_close(more.burned, 0.6 * more.fee.sum(1))
        torch.testing.assert_close(more.fee.sum(1), more.burned + more.validator_income)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (ETHEREUM | {"base_fee_wei": -1}, r"base_fee_wei is -1"),
        (ETHEREUM | {"base_fee_wei": 2**63}, "base_fee_wei"),
        (ETHEREUM | {"base_fee_wei": 0.5}, "base_fee_wei"),
        (ETHEREUM | {"eur_per_coin": float("nan")}, "eur_per_coin"),
        (ETHEREUM | {"eur_per_con": 1}, "did you mean 'eur_per_coin'"),
        (XRPL | {"soft_limit": 0}, "soft_limit is 0"),
        (XRPL | {"multiplier": 0.5}, "multiplier"),
        (XRPL | {"burned_share": 2}, "burned_share"),
        ({"rule": "eip1558"}, "did you mean 'eip1559'"),
    ],
)
def test_impossible_fees_are_named(config, says):
    with pytest.raises((ConfigError, UnknownNameError), match=says):
        make(config)
