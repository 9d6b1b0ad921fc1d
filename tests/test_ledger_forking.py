"""Laws of the chains whose blocks may fork, be missed or come late."""

from pathlib import Path

import pytest
import torch
import yaml

from gridbazaar import ledger_sim
from gridbazaar.errors import ConfigError, UnknownNameError
from gridbazaar.ledger_sim import Transactions
from gridbazaar.ledger_sim.consensus.finality import catch_up_probability
from gridbazaar.ledger_sim.consensus.protocol import consensus_of
from gridbazaar.sourced import plain
from gridbazaar.studies.ledger.configured import read

CONFIGS = Path(__file__).parents[1] / "configs" / "ledger"
LOTTERIES = ["proof_of_work", "proof_of_capacity", "proof_of_energy_contribution"]
CLOCKS = ["proof_of_stake", "delegated_proof_of_stake", "proof_of_authority", "tangle"]
CHAINS = LOTTERIES + CLOCKS
SLOT_S, DEADLINE_S, N = 900.0, 870.0, 7


def raw(name, network=None, **changes):
    config = plain(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())) | changes
    return config | {"network": config["network"] | (network or {})}


def consensus(name, **changes):
    return ledger_sim.make(raw(name, **changes)).consensus


def event(from_s, to_s, **who):
    return {"faults": [{"from_s": from_s, "to_s": to_s, **who}]}


def orders(batch, slots, seed=0, start_s=300.0):
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return torch.rand(batch, N, generator=generator, dtype=torch.float64)

    return [
        Transactions(draw() < 0.9, start_s + (DEADLINE_S - start_s) * draw(), draw())
        for _ in range(slots)
    ]


def run(name, seeds, slots, days=None, **changes):
    ledger = ledger_sim.make(raw(name, **changes))
    seeds = torch.as_tensor(seeds)
    ledger.reset(seeds)
    return [ledger.step(t, DEADLINE_S) for t in days or orders(len(seeds), slots)]


def stacked(receipts, field):
    return torch.stack([getattr(r, field) for r in receipts])


@pytest.mark.parametrize("name", CHAINS)
def test_sent_then_in_a_block_then_final(name):
    days = orders(16, 6)
    for sent, got in zip(days, run(name, range(16), 6, days), strict=True):
        on_chain = got.latency_s.isfinite()
        assert (got.latency_s >= 0).all()
        block_s = (sent.submitted_s + got.latency_s)[on_chain]
        assert (block_s <= SLOT_S + 1e-6).all()
        # The first block after the deadline settles; it is final no sooner.
        assert (got.finality_s > 0).all()
        assert got.finality_s.isfinite().all()
        assert not (got.included & (sent.submitted_s + got.latency_s > DEADLINE_S + 1e-6)).any()
        torch.testing.assert_close(got.fee.sum(1), got.burned + got.validator_income)


@pytest.mark.parametrize("name", CHAINS)
def test_an_environment_does_not_see_its_batch(name):
    n = raw(name)["validators"]
    who = event(1000, 3000, crashed=max(n // 4, 1))
    days = orders(5, 6)
    seeds = [7, -3, 2**62, 0, 8]
    batch = run(name, seeds, 6, days, **who)
    for b, seed in enumerate(seeds):
        alone = [
            Transactions(t.sent[b : b + 1], t.submitted_s[b : b + 1], t.tip[b : b + 1])
            for t in days
        ]
        for whole, one in zip(batch, run(name, [seed], 6, alone, **who), strict=True):
            for field in ("latency_s", "fee", "finality_s", "reverted", "backlog", "base_fee"):
                assert torch.equal(getattr(whole, field)[b], getattr(one, field)[0]), field


@pytest.mark.parametrize("name", LOTTERIES)
def test_blocks_of_a_lottery_are_a_poisson_process(name):
    chain = consensus(name)
    seeds = torch.arange(20_000)
    times = chain.draw_times(seeds, 3)
    mean = SLOT_S / chain.interval_s
    count = times.isfinite().sum(1).double()
    assert abs(count.mean() - mean) < 4 * (mean / len(seeds)) ** 0.5
    # The variance of a Poisson number is its mean; that of the estimate is 2 mean^2 + mean over B.
    assert abs(count.var() - mean) < 4 * ((2 * mean**2 + mean) / len(seeds)) ** 0.5
    first = times[:, 0].nan_to_num(posinf=SLOT_S)
    expected = chain.interval_s * (1 - torch.tensor(-mean, dtype=torch.float64).exp())
    assert abs(first.mean() - expected) < 4 * chain.interval_s / len(seeds) ** 0.5
    others = chain.draw_times(seeds, 4).isfinite().sum(1).double()
    assert abs(torch.corrcoef(torch.stack([count, others]))[0, 1]) < 4 / len(seeds) ** 0.5


def test_stale_blocks_agree_with_simblock():
    # SimBlock, 300 nodes, D = 1.11 s: interval of all blocks and share of stale ones.
    for found_s, measured in [(30, 0.0323), (10, 0.0991), (5, 0.1745), (2, 0.3375)]:
        chain = consensus(
            "proof_of_work",
            interval_s=found_s + 1.11,
            background_gas_per_s=0,
            validators=2,
            block_bytes=0,
            network={"latency_s": 1.11, "distance_km": 0},
        )
        assert chain.stale_share == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("form", ["exact", "poisson"])
def test_proof_of_work_is_reverted_with_its_probability(form):
    changes = {
        "attacker_share": 0.3, "confirmations": 1, "form": form, "interval_s": 120.0,
        "background_gas_per_s": 0,
    }  # fmt: skip
    chain = consensus("proof_of_work", **changes)
    attack = catch_up_probability(0.3, 2, form)
    assert chain.reversal_probability == pytest.approx(
        attack + (1 - attack) * chain.stale_share**2, rel=1e-9
    )
    got = stacked(run("proof_of_work", range(4000), 4, **changes), "reverted").double().mean()
    p = chain.reversal_probability
    assert abs(got - p) < 4 * (p * (1 - p) / 16_000) ** 0.5


def test_a_block_without_another_upon_it_may_go_stale():
    chain = consensus("proof_of_work", attacker_share=0, confirmations=0)
    assert chain.reversal_probability == pytest.approx(chain.stale_share) != 0
    assert consensus("proof_of_capacity", attacker_share=0).reversal_probability == 0


def test_more_confirmations_are_safer_and_later():
    few, many = (
        run("proof_of_work", range(200), 2, confirmations=z, interval_s=60.0,
            background_gas_per_s=0) for z in (1, 6)
    )  # fmt: skip
    for less, more in zip(few, many, strict=True):
        assert (more.finality_s > less.finality_s).all()
    risk = [consensus("proof_of_work", confirmations=z).reversal_probability for z in range(12)]
    assert risk == sorted(risk, reverse=True)


def test_one_block_of_chia_in_three_holds_transactions_and_all_confirm():
    chain = consensus("proof_of_capacity")
    # The next winner's point after an infusion, then its own infusion three and a half points on.
    point_s, winner = 9.375, 1 - torch.tensor(-0.5, dtype=torch.float64).exp()
    pause_s = point_s * (0.5 + 1 / winner - 1 + 3.5)
    assert chain.interval_s == pytest.approx(float(pause_s), rel=1e-3)
    assert chain.config.interval_s / chain.interval_s == pytest.approx(0.36, abs=0.01)
    assert chain.block_messages == pytest.approx(999 * 52 / 18.75)
    got = stacked(run("proof_of_capacity", range(500), 2), "finality_s")
    confirmed_s = 32 * 18.75
    assert (got > confirmed_s).all()
    assert got.mean() - confirmed_s == pytest.approx(52 + chain.commit_s, rel=0.1)


def test_a_block_that_outlasts_the_interval_is_refused():
    with pytest.raises(ConfigError, match=r"interval_s is 10.*takes 24\.3 s"):
        ledger_sim.make(raw("proof_of_work", interval_s=10, network={"bandwidth_kbit_s": 1000}))


def test_half_the_power_makes_half_the_blocks_until_it_is_back():
    got = run(
        "proof_of_work", range(4000), 6, confirmations=0, interval_s=60.0,
        background_gas_per_s=0, **event(2 * SLOT_S, 4 * SLOT_S, crashed=50),
    )  # fmt: skip
    messages = stacked(got, "messages").mean(1) / 99
    for slot, share in enumerate([1, 1, 0.5, 0.5, 1, 1]):
        assert messages[slot] == pytest.approx(15 * share, abs=4 * (15 * share / 4000) ** 0.5)


@pytest.mark.parametrize("name", ["proof_of_work", "proof_of_capacity", "proof_of_stake"])
def test_a_majority_of_liars_rewrites_what_it_touches(name):
    n = raw(name)["validators"]
    attack = event(4 * SLOT_S, 6 * SLOT_S, lying=n // 2 + 1)
    quiet = {"attacker_share": 0.0} if name != "proof_of_stake" else {}
    got = stacked(run(name, range(50), 12, **attack, **quiet), "reverted")
    assert got[4:6].all()
    assert not got[6:].any()
    below = event(4 * SLOT_S, 6 * SLOT_S, lying=(n - 1) // 3)
    assert not stacked(run(name, range(50), 12, **below, **quiet), "reverted").any()


@pytest.mark.parametrize("name", ["proof_of_work", "proof_of_stake", "delegated_proof_of_stake"])
def test_in_a_split_the_smaller_side_loses_its_slots(name):
    n = raw(name)["validators"]
    quiet = {"attacker_share": 0.0} if name == "proof_of_work" else {}
    split = (4 * SLOT_S, 6 * SLOT_S)
    smaller = run(name, range(50), 9, **event(*split, cut_off=2 * n // 3), **quiet)
    larger = run(name, range(50), 9, **event(*split, cut_off=n // 4), **quiet)
    assert stacked(smaller, "reverted")[4:6].all()
    assert not stacked(smaller, "reverted")[6:].any()
    assert not stacked(larger, "reverted").any()
    ratio = stacked(smaller, "messages")[4:6].mean() / stacked(larger, "messages")[4:6].mean()
    assert ratio < 0.75
    # Both go on, and are whole again afterwards.
    assert stacked(smaller, "messages")[4:6].sum() > 0
    healed = run(name, range(50), 9, **quiet)
    assert torch.equal(stacked(smaller, "messages")[6:], stacked(healed, "messages")[6:])


def test_ethereum_is_final_after_13_to_19_minutes():
    chain = consensus("proof_of_stake")
    block_s = 12.0 * torch.arange(96, dtype=torch.float64)
    lag = (chain.final_s(block_s) - block_s) / 60
    torch.testing.assert_close(lag[:32], torch.linspace(19.2, 13.0, 32, dtype=torch.float64))
    torch.testing.assert_close(lag.reshape(3, 32), lag[:32].expand(3, 32))
    got = stacked(run("proof_of_stake", range(20), 40), "finality_s")
    assert got.min() >= 13.0 * 60
    # From the deadline, it is up to one slot more, or two where that one is missed.
    assert got.max() <= 19.2 * 60 + 24


def test_slots_without_a_proposal_come_at_their_share():
    chain = consensus("proof_of_stake", missed_share=0.1)
    missing = torch.stack([chain.draw_times(torch.arange(500), s).isinf() for s in range(5)])
    assert abs(missing.double().mean() - 0.1) < 4 * (0.09 / missing.numel()) ** 0.5
    assert torch.equal(
        chain.draw_times(torch.arange(500), 2).nan_to_num(posinf=0).amax(), torch.tensor(900.0)
    )


@pytest.mark.parametrize("name", ["proof_of_stake", "delegated_proof_of_stake"])
def test_without_two_thirds_blocks_go_on_but_nothing_is_final_until_they_are_back(name):
    tolerated = consensus(name).tolerance.crashed
    fault = (2 * SLOT_S, 6 * SLOT_S)
    enough = run(name, range(20), 9, **event(*fault, crashed=tolerated))
    too_few = run(name, range(20), 9, **event(*fault, crashed=tolerated + 1))
    for slot in (2, 3, 4):
        until_end_s = 6 * SLOT_S - (slot * SLOT_S + DEADLINE_S)
        assert (too_few[slot].finality_s > until_end_s).all()
        assert (enough[slot].finality_s < until_end_s).any() or slot == 4
        assert (too_few[slot].messages > 0).all()
        assert too_few[slot].included.any()
    well = run(name, range(20), 9)
    for slot in (7, 8):
        assert torch.equal(too_few[slot].finality_s, well[slot].finality_s)
    assert not stacked(too_few, "reverted").any()


def test_eos_is_irreversible_after_165_seconds():
    got = stacked(run("delegated_proof_of_stake", range(3), 3), "finality_s")
    torch.testing.assert_close(got, torch.full_like(got, 165.5))


def test_a_producer_that_is_away_misses_its_whole_turns():
    chain = consensus("delegated_proof_of_stake", **event(0, 900, crashed=5))
    times = chain.draw_times(torch.arange(40), 0)
    turns = times[:, :1764].reshape(40, 7, 21, 12).isinf()
    assert (turns.all(-1) == turns.any(-1)).all()
    gone = turns.all(-1)
    assert (gone.sum(-1) == 5).all()
    assert (gone == gone[:, :1]).all()
    assert len({tuple(row.tolist()) for row in gone[:, 0]}) > 30
    later = chain.draw_times(torch.arange(40), 1)
    assert later.isfinite().all()


def test_a_block_out_of_turn_comes_late_and_none_is_lost():
    chain = consensus("proof_of_authority", **event(0, 1e5, crashed=1))
    seeds = torch.arange(3000)
    day = torch.cat([chain.draw_times(seeds, s) + s * SLOT_S for s in range(8)], 1).sort(1).values
    late = torch.stack([day[:, k] - 15.0 * (k + 1) for k in range(470)], 1)
    assert (late > -1e-9).all()
    assert (late <= 7 * 0.5 + 1e-9).all()
    out_of_turn = late > 1e-9
    assert out_of_turn.double().mean() == pytest.approx(1 / 7, abs=0.002)
    # The first of the three that are there and have not signed lately.
    waits = late[out_of_turn]
    assert abs(waits.mean() - 3.5 / 4) < 4 * waits.std() / 3000**0.5


def test_signers_halt_without_a_majority_and_recover():
    fault = (2 * SLOT_S, 4 * SLOT_S + 1)
    halted = run("proof_of_authority", range(8), 7, **event(*fault, crashed=4))
    slow = run("proof_of_authority", range(8), 7, **event(*fault, crashed=3))
    well = run("proof_of_authority", range(8), 7)
    assert (stacked(halted, "messages")[2:4] == 0).all()
    assert not stacked(halted, "included")[2:4].any()
    assert (halted[3].backlog > halted[2].backlog).all()
    assert (halted[4].backlog == 0).all()
    sent = sum(t.sent.sum() for t in orders(8, 7))
    arrived = stacked(halted, "latency_s").isfinite().sum() + len(halted[4].earlier.seat)
    assert arrived == sent - halted[-1].backlog.sum()
    assert (stacked(slow, "messages")[2:4] > 0).all()
    late, due = (torch.cat([r.latency_s for r in got[2:4]]) for got in (slow, well))
    both = late.isfinite() & due.isfinite()
    assert late[both].mean() > due[both].mean()
    assert torch.equal(halted[6].latency_s, well[6].latency_s)
    assert (halted[2].finality_s > 4 * SLOT_S - 2 * SLOT_S - DEADLINE_S).all()


def test_a_tangle_needs_its_coordinator():
    halted = run("tangle", range(8), 5, **event(SLOT_S, 2 * SLOT_S, crashed=1))
    assert not halted[1].included.any()
    assert torch.equal(halted[4].latency_s, run("tangle", range(8), 5)[4].latency_s)
    false = run("tangle", range(8), 5, **event(SLOT_S, 2 * SLOT_S, lying=2))
    assert stacked(false, "reverted")[1].all()


def test_a_tangle_with_more_tips_than_a_milestone_has_parents_takes_twice_as_long():
    quiet = consensus("tangle", background_gas_per_s=0.1)
    busy = consensus("tangle", background_gas_per_s=100)
    assert quiet.commit_s == pytest.approx(quiet.hidden_s)
    assert busy.commit_s == pytest.approx(2 * busy.hidden_s)


def test_energy_is_the_published_figure_or_the_nodes_power():
    days = orders(4, 3)
    for name, kwh in [("proof_of_work", 2189), ("proof_of_stake", 0.03), ("tangle", 1.1183e-6)]:
        for got in run(name, range(4), 3, days):
            came = got.latency_s.isfinite().sum(1)
            if got.earlier is not None:
                came = came + torch.bincount(got.earlier.environment, minlength=4)
            torch.testing.assert_close(got.energy_kwh, came * kwh, check_dtype=False)
    got = run("proof_of_authority", range(4), 1, days[:1])[0].energy_kwh
    torch.testing.assert_close(got, torch.full_like(got, 7 * 50 / 1000 / 4))


def test_contributed_energy_saves_work_or_time():
    name, seeds = "proof_of_energy_contribution", torch.arange(9)
    none = consensus(name, contributed_share=0.0)
    half = consensus(name, contributed_share=1.0, relief=0.5)
    sooner = consensus(name, contributed_share=1.0, relief=0.5, saves="time")
    assert half.node_power_w == none.node_power_w / 2
    assert torch.equal(half.draw_times(seeds, 0), none.draw_times(seeds, 0))
    assert sooner.interval_s == none.interval_s / 2
    energy = [
        run(name, range(3), 1, contributed_share=share)[0].energy_kwh.sum() for share in (0, 0.4, 1)
    ]
    assert energy == sorted(energy, reverse=True)
    shared = {key: value for key, value in raw(name).items() if key in raw("proof_of_work")}
    plain_work = ledger_sim.make(shared | {"name": "proof_of_work"})
    assert torch.equal(plain_work.consensus.draw_times(seeds, 2), none.draw_times(seeds, 2))
    # What a ledger was built from, rebuilds it.
    again = consensus_of(half.config)
    assert again.config == half.config
    assert again.node_power_w == half.node_power_w


@pytest.mark.parametrize("name", CHAINS)
def test_tolerance_is_where_health_breaks(name):
    chain = consensus(name)
    bound = chain.tolerance
    assert bound.beyond
    well = chain.health(0, 0, 0)
    assert well.final
    assert well.safe
    assert well.block_share == 1
    at = chain.health(bound.crashed, 0, 0)
    assert at.final
    assert at.safe
    assert chain.health(0, bound.lying, 0).safe
    assert not chain.health(0, bound.lying + 1, 0).safe or name in LOTTERIES
    assert chain.block_messages > 0
    if name in CLOCKS:
        assert not chain.health(bound.crashed + 1, 0, 0).final


def test_too_few_producers_are_refused():
    with pytest.raises(ConfigError, match="needs at least 4"):
        ledger_sim.make(raw("delegated_proof_of_stake", validators=3))


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("proof_of_work", {"attacker_share": 1.5}, r"attacker_share is 1\.5"),
        ("proof_of_work", {"form": "nakamoto"}, "'exact' or 'poisson'"),
        ("proof_of_stake", {"missed_share": 1.0}, "missed_share"),
        ("proof_of_energy_contribution", {"relief": 1.0}, "relief"),
        ("tangle", {"work_s": -1}, "work_s"),
        ("tangle", {"signatures": 3}, r"signatures is 3 of ledger\.validators 2"),
        ("proof_of_work", event(0, 1, crashed=101), "crashed 101 of 100 validators"),
        ("proof_of_work", {"form": "exact", "peer": 3}, "did you mean 'peers'"),
    ],
)
def test_impossible_parameters_are_named(name, changes, says):
    with pytest.raises((ConfigError, UnknownNameError), match=says):
        ledger_sim.make(raw(name, **changes))


@pytest.mark.parametrize("name", CHAINS)
def test_files_read_as_they_stand(name):
    assert read(name).name == name
