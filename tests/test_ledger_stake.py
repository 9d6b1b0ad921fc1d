"""Stakes of validators: who proposes, who may fail, what liars lose, and who earns what."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from gridbazaar import ledger_sim
from gridbazaar.configs import complete_ledger
from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim import MarketTransactions, Transactions
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, consensus_of
from gridbazaar.ledger_sim.consensus.stake import StakeConfig, priority_order, stakes_of
from gridbazaar.studies.ledger.configured import configured, read
from gridbazaar.studies.ledger.load import simulate

SLOT_S, DEADLINE_S, B, N = 900.0, 870.0, 4, 6
CHAINS = [name for name in configured() if isinstance(read(name), ChainConfig)]
STAKED = ["proof_of_stake", "tendermint"]
LIE = {"from_s": 950.0, "to_s": 2000.0, "lying": 1}


def config_of(name, **changes):
    return read(name).model_dump() | changes


def day(slots=4, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return torch.rand(B, N, generator=generator, dtype=torch.float64)

    return [Transactions(draw() < 0.9, SLOT_S * draw(), draw() * 0.01) for _ in range(slots)]


def run(config, days=None):
    ledger = ledger_sim.make(config)
    ledger.reset(torch.arange(B))
    return [ledger.step(orders, DEADLINE_S) for orders in days or day()]


def proposers(config, slots, seeds=50):
    """Every block's proposer, by the consensus itself, [seeds, blocks]."""
    consensus = consensus_of(read(config.pop("name"), [f"{k}={v}" for k, v in config.items()]))
    seed, whose = torch.arange(seeds), []
    for slot in range(slots):
        blocks = int(SLOT_S / consensus.interval_s)
        at_s = (torch.arange(blocks).double() + 1) * consensus.interval_s + slot * SLOT_S
        whose.append(consensus.proposers(seed, slot, at_s.unsqueeze(0)).expand(seeds, -1))
    return torch.cat(whose, 1)


@pytest.mark.parametrize("name", STAKED)
@pytest.mark.parametrize("stake", [{}, {"weights": [3.0] * 12, "failing": "smallest"}])
def test_equal_stakes_change_nothing(name, stake):
    faults = [{"from_s": 950.0, "to_s": 2000.0, "lying": 2, "crashed": 1, "cut_off": 1}]
    plain = run(config_of(name, validators=12, faults=faults))
    staked = run(config_of(name, validators=12, faults=faults, stake=stake))
    for one, other in zip(plain, staked, strict=True):
        for field in fields(one):
            a, b = getattr(one, field.name), getattr(other, field.name)
            if isinstance(a, torch.Tensor):
                assert torch.equal(a, b), field.name
    consensus = consensus_of(read(name, ["validators=12"]))
    equal = ledger_sim.make(config_of(name, validators=12, stake=stake)).consensus
    assert (equal.tolerance.crashed, equal.tolerance.lying) == (
        consensus.tolerance.crashed, consensus.tolerance.lying
    )  # fmt: skip
    for counts in np.ndindex(5, 5, 5):
        assert equal.health(*counts) == consensus.health(*counts)


def test_proposers_are_drawn_by_stake():
    stake = "{concentration: 1.0}"
    whose = proposers({"name": "proof_of_stake", "validators": 6, "stake": stake}, slots=4)
    count = torch.bincount(whose.flatten(), minlength=6).double()
    share = 1 / torch.arange(1, 7).double()
    expected = whose.numel() * share / share.sum()
    chi_square = float(((count - expected) ** 2 / expected).sum())
    assert chi_square < 25  # five degrees of freedom: one in ten thousand


def test_proposers_by_priority_are_spread_as_evenly_as_stakes_allow():
    stake = "{weights: [5, 3, 1, 1]}"
    whose = proposers({"name": "tendermint", "validators": 4, "stake": stake}, slots=1, seeds=1)[0]
    share = torch.tensor([0.5, 0.3, 0.1, 0.1]).double()
    count = torch.nn.functional.one_hot(whose, 4).cumsum(0)
    turn = torch.arange(1, len(whose) + 1).unsqueeze(1)
    assert ((count - turn * share).abs() < 1).all()
    assert count[-1].tolist() == [225, 135, 45, 45]
    # CometBFT's specification, "Proposer selection procedure", its example of powers 1 and 3.
    assert priority_order([1.0, 3.0], 8).tolist() == [1, 0, 1, 1, 1, 0, 1, 1]
    assert priority_order(np.full(3, 1 / 3), 6).tolist() == [0, 1, 2, 0, 1, 2]


def test_coin_age_is_the_chain_of_those_who_may_not_propose_twice():
    """Age capped at one turn: everyone but the last proposer by stake, w_i (1 - w_i) in the end."""
    weight = torch.tensor([0.5, 0.3, 0.2]).double()
    stake = "{weights: [5, 3, 2]}"
    words = {"name": "proof_of_stake", "validators": 3, "proposer": "coin_age", "age_cap": 1}
    whose = proposers(words | {"stake": stake}, slots=4, seeds=200)
    assert (whose[:, 1:] != whose[:, :-1]).all()
    expected = weight * (1 - weight)
    count = torch.bincount(whose[:, 20:].flatten(), minlength=3).double()
    torch.testing.assert_close(
        count / count.sum(), expected / expected.sum(), rtol=0, atol=4 / count.sum() ** 0.5
    )


def test_age_without_a_cap_spreads_proposals_more_evenly_than_chance():
    words = {"name": "proof_of_stake", "validators": 5, "stake": "{concentration: 0.5}"}
    drawn, aged = (
        torch.stack([(proposers(words | {"proposer": by}, 4) == v).sum(1) for v in range(5)], 1)
        for by in ("stake", "coin_age")
    )
    assert (aged.double().var(0) < 0.7 * drawn.double().var(0)).all()


def test_an_attacker_delays_by_its_share_and_rewrites_from_a_third_on():
    for share, lost in ((0.3, False), (0.34, True)):
        config = config_of("proof_of_stake", validators=30, attacker_share=share)
        assert all(bool(got.reverted.all()) is lost for got in run(config))
        assert all(bool(got.reverted.any()) is lost for got in run(config))
    # Others take no room here; a slot is the market's with probability (1 - missed)(1 - share).
    consensus = ledger_sim.make(config_of("proof_of_stake", validators=30, attacker_share=0.3))
    times = [consensus.consensus.draw_times(torch.arange(400), slot) for slot in range(2)]
    there = torch.cat(times, 1).isfinite().double().mean()
    assert float(there) == pytest.approx(0.997 * 0.7, abs=0.006)


@pytest.mark.parametrize(("share", "depth"), [(0.1, 1), (0.3, 2), (0.4, 5)])
def test_by_depth_the_attacker_s_success_is_that_of_a_race(share, depth):
    config = config_of(
        "proof_of_stake", attacker_share=share, finality="depth", confirmations=depth,
        validators=30,
    )  # fmt: skip
    formula = ledger_sim.make(config).consensus.reversal_probability
    generator, races, steps = np.random.default_rng(1), 20_000, 300
    turns = generator.random((races, steps)) < share
    honest = (~turns).cumsum(1)
    ahead = honest - turns.cumsum(1)  # of the attacker's secret chain, from the block's parent on
    confirmed = honest >= depth + 1
    overtaken = (confirmed & (ahead <= 0)).any(1)
    error = 4 * (formula * (1 - formula) / races) ** 0.5
    assert overtaken.mean() == pytest.approx(formula, abs=error + 1e-3)
    reverted = torch.stack([got.reverted for got in run(config, day(slots=60))]).double()
    assert float(reverted.mean()) == pytest.approx(formula, abs=0.15)


@pytest.mark.parametrize("name", STAKED)
def test_a_third_of_any_stakes_is_the_bound(name):
    generator = np.random.default_rng(2)
    for failing in ("largest", "smallest"):
        for _ in range(6):
            weights = (generator.random(9) ** 3 + 1e-3).tolist()
            stake = {"weights": weights, "failing": failing}
            consensus = ledger_sim.make(config_of(name, validators=9, stake=stake)).consensus
            hit = sorted(weights, reverse=failing == "largest")
            for lying in range(10):
                share = sum(hit[:lying]) / sum(weights)
                health = consensus.health(0, lying, 0)
                assert health.safe == (share < 1 / 3) or (name == "tendermint" and share > 0.99)
                assert consensus.health(lying, 0, 0).final == (share <= 1 / 3)
            most = consensus.tolerance.lying
            assert sum(hit[:most]) < sum(weights) / 3 <= sum(hit[: most + 1])


def test_ethereum_s_liars_lose_all_when_a_third_lies_together():
    stake = {"slashed_lying": 1 / 4096, "correlation": 3.0, "locked_eur": 9000.0}
    for liars, share in ((1, 1 / 4096 + 3 / 9), (3, 1.0), (6, 1.0)):
        config = config_of(
            "proof_of_stake", validators=9, stake=stake, faults=[LIE | {"lying": liars}]
        )
        got = run(config)
        lost = torch.stack([one.slashed for one in got])
        assert lost[1, :, :liars].flatten().tolist() == pytest.approx([1000 * share] * liars * B)
        assert float(lost.sum()) == pytest.approx(1000 * share * liars * B)


@pytest.mark.parametrize("name", STAKED)
def test_the_stake_that_is_left_and_what_was_slashed_are_all_there_was(name):
    stake = {
        "concentration": 0.7, "failing": "smallest", "locked_eur": 500.0, "slashed_lying": 0.05,
        "slashed_silent": 0.01, "removed_after_s": 120.0,
    }  # fmt: skip
    faults = [LIE, {"from_s": 2100.0, "to_s": 3000.0, "crashed": 2}]
    config = config_of(name, validators=9, stake=stake, faults=faults)
    consensus = ledger_sim.make(config).consensus
    lost = torch.stack([got.slashed for got in run(config)]).sum(0)
    left = torch.from_numpy(consensus.stake_at(3600.0)) * 500
    torch.testing.assert_close(left + lost[0], torch.from_numpy(consensus.locked_eur))
    assert (lost > 0).sum(1).tolist() == [2] * B  # one of them lied and was silent
    assert consensus.stake_at(900.0).sum() == pytest.approx(1)


@pytest.mark.parametrize("name", STAKED)
def test_who_is_put_out_holds_up_nobody_and_proposes_no_more(name):
    stake = {"slashed_lying": 0.05, "removed_after_s": 60.0}
    lie = {"from_s": 900.0, "to_s": 2700.0, "lying": 1, "crashed": 1}
    changes = {"validators": 9, "stake": stake, "faults": [lie]}
    consensus = ledger_sim.make(config_of(name, **changes)).consensus
    assert [(e.from_s, e.to_s) for e in consensus.faults] == [(900.0, 960.0)]
    at_s = torch.arange(961.0, 3600.0).double().unsqueeze(0)
    whose = consensus.proposers(torch.arange(20), 1, at_s)
    assert not (whose == 1).any()
    silent = (whose == 0).expand(20, -1)
    assert not silent[:, : (2700 - 961)].any()
    assert silent[:, (2700 - 961) :].any()
    # Without a quorum of others nobody is put out.
    changes["faults"] = [lie | {"lying": 2, "crashed": 2}]
    stuck = ledger_sim.make(config_of(name, **changes)).consensus
    assert [(e.from_s, e.to_s) for e in stuck.faults] == [(900.0, 2700.0)]


@pytest.mark.parametrize("name", CHAINS)
def test_incomes_add_up_to_fees_and_rewards(name):
    validators = min(read(name).validators, 40)
    income = {"block_reward_eur": 0.5, "to_proposer": 0.7}
    fees = {"rule": "fixed", "price": 1e-6, "burned_share": 0.25}
    for layers in ([], [{"name": "sharding", "shards": 3}]):
        config = complete_ledger(
            config_of(
                name, validators=validators, income=income, fees=fees, layers=layers, queue="tip"
            )
        )
        ledger = ledger_sim.make(config)
        ledger.reset(torch.arange(B))
        for orders in day(slots=2):
            got = ledger.step(orders, DEADLINE_S)
            assert (got.incomes >= 0).all()
            torch.testing.assert_close(got.incomes.sum(1), got.validator_income + got.minted)
            torch.testing.assert_close(got.fee.sum(1), got.burned + got.validator_income)
            one = torch.ones(B).double()
            wrote = ledger.submit_market(MarketTransactions(2 * one, 9 * one, 7 * one, 5 * one))
            torch.testing.assert_close(wrote.incomes.sum(1), wrote.fee - wrote.burned)
        blocks = got.minted / 0.5
        assert torch.equal(blocks, blocks.round())


@pytest.mark.parametrize(
    "layer",
    [
        {"name": "two_chains", "settlement_ledger": "second"},
        {"name": "consortium", "public_ledger": "second", "slots_per_anchor": 1},
        {"name": "side_chain", "side_ledger": "second"},
    ],
)
def test_validators_of_two_ledgers_have_an_account_each(layer):
    income = {"block_reward_eur": 0.5}
    second = config_of("block", validators=5, income=income, layers=[], interval_s=45.0)
    layer = {key: second if value == "second" else value for key, value in layer.items()}
    config = complete_ledger(config_of("block", validators=3, income=income, layers=[layer]))
    ledger = ledger_sim.make(config)
    ledger.reset(torch.arange(B))
    for orders in day():
        got = ledger.step(orders, DEADLINE_S)
        assert got.incomes.shape == (B, 8)
        torch.testing.assert_close(got.incomes.sum(1), got.validator_income + got.minted)
        assert got.minted.tolist() == [0.5 * (30 + 20)] * B
        one = torch.ones(B).double()
        wrote = ledger.submit_market(MarketTransactions(2 * one, 9 * one, 7 * one, 5 * one))
        assert wrote.incomes.shape == (B, 8)
        torch.testing.assert_close(wrote.incomes.sum(1), wrote.fee - wrote.burned)


def test_the_load_study_tells_how_unequal_income_is():
    words = ["validators=4", "income={block_reward_eur: 1.0, to_proposer: 0.0}"]
    equal = simulate(read("tendermint", words), 0.05, hours=0.5, seeds=2)
    assert equal.income_gini == pytest.approx(0, abs=1e-9)
    weights = [6.0, 2.0, 1.0, 1.0]
    some = simulate(read("tendermint", [*words, f"stake={{weights: {weights}}}"]), 0.05, 0.5, 2)
    pairs = sum(abs(a - b) for a in weights for b in weights) / 2
    assert some.income_gini == pytest.approx(pairs / (3 * sum(weights)), rel=1e-9)
    assert np.isnan(simulate(read("tendermint"), 0.05, 0.5, 2).income_gini)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stake": {"weights": [1.0, 2.0]}}, r"stake\.weights has 2 of 9 validators"),
        ({"stake": {"weights": [1.0] * 9, "concentration": 1.0}}, "weights or concentration"),
        ({"stake": {"slashed_lying": 1.5}}, r"stake\.slashed_lying is 1\.5"),
        ({"attacker_share": 1.0}, "attacker_share is 1"),
        ({"confirmations": 3}, "finality is depth"),
        ({"validators": 20_000, "income": {}}, "20,000.*room for 10,000"),
        ({"validators": 20_000, "stake": {}}, "20,000.*room for 10,000"),
    ],
)
def test_impossible_stakes_are_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        ledger_sim.make(config_of("proof_of_stake", **({"validators": 9} | changes)))


def test_the_order_in_which_stakes_fail():
    config = StakeConfig(weights=[2.0, 5.0, 1.0], failing="largest")
    stakes = stakes_of(config, 3)
    assert [stakes.held(0, k) for k in range(4)] == [0, 5, 7, 8]
    assert stakes.held(1, 1) == 2
    assert stakes.shares(3).tolist() == [2 / 8, 5 / 8, 1 / 8]
    assert [stakes.most(x) for x in (4.9, 5.0, 7.5, 8)] == [0, 1, 2, 3]
    assert [stakes.most(x, strictly=True) for x in (5.0, 5.1)] == [0, 1]


def test_ripple_s_lists_must_overlap_by_more_than_two_fifths():
    """Against a count: can two lists reach 80 % each for different ledgers?"""
    n, quorum = 20, 16
    for shared in range(n + 1):
        config = config_of("ripple", validators=n, overlap=shared / n)
        consensus = ledger_sim.make(config).consensus
        for liars in range(shared + 1):
            own, honest = n - shared, shared - liars
            # Each list has its own, all liars, and those honest ones of both that heard it first.
            split = any(
                own + liars + first >= quorum and own + liars + honest - first >= quorum
                for first in range(honest + 1)
            )
            assert split == (liars > consensus.unsplit)
        assert consensus.reversal_probability == float(shared <= 8)
    assert consensus.tolerance.lying == 3
    assert consensus.health(0, 3, 0).safe
    fewer = ledger_sim.make(config_of("ripple", validators=n, overlap=0.5)).consensus
    assert fewer.tolerance.lying == 1
    assert fewer.health(0, 1, 0).safe
    assert not fewer.health(0, 2, 0).safe
