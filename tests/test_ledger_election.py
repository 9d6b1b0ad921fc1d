"""Elections of delegates: who is seated by stake, and who loses the seat by failing."""

import math

import numpy as np
import pytest
import torch

from gridbazaar import ledger_sim
from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim import Transactions
from gridbazaar.ledger_sim.chain.timeline import Timeline
from gridbazaar.ledger_sim.consensus.election import ElectionConfig
from gridbazaar.studies.ledger.configured import read

SLOT_S = 900.0
ELECTED = ["delegated_proof_of_stake", "dbft"]
OUT = {"from_s": 1000.0, "to_s": 3200.0, "crashed": 1}


def consensus(name, **changes):
    return ledger_sim.make(read(name).model_dump() | changes).consensus


def times(chain, slots=5):
    """All block times, s since the day's start, of three environments."""
    timeline = Timeline(chain)
    timeline.reset(torch.arange(3))
    found = []
    for slot in range(slots):
        blocks = timeline.blocks(slot, SLOT_S)
        number = torch.arange(blocks.count, dtype=torch.float64).expand(3, -1)
        found.append(blocks.time_s(number) + slot * SLOT_S)
    return torch.cat(found, 1)


def income(chain_config, slots=5):
    ledger = ledger_sim.make(chain_config)
    ledger.reset(torch.arange(3))
    nobody = torch.zeros(3, 1)
    quiet = Transactions(nobody > 0, nobody, nobody)
    return torch.stack([ledger.step(quiet, 870.0).incomes for _ in range(slots)])


@pytest.mark.parametrize("loss", [0.05, 0.3, 0.9, 1.0])
def test_turns_until_the_next_one_has_more(loss):
    generator = np.random.default_rng(0)
    rule = ElectionConfig(candidates=2, reputation_loss=loss)
    for _ in range(50):
        next_votes, votes = sorted(generator.random(2))
        turns, left = 0, votes
        while left >= next_votes:
            left, turns = left * (1 - loss), turns + 1
        assert rule.failed_turns(votes, next_votes) == turns
    assert rule.failed_turns(1.0, 1.0) == 1
    assert ElectionConfig(candidates=2, reputation_loss=0.0).failed_turns(2.0, 1.0) == math.inf


@pytest.mark.parametrize("name", ELECTED)
def test_a_failing_delegate_costs_its_turns_until_it_is_voted_out(name):
    n = read(name).validators
    election = {"candidates": n + 2, "concentration": 0.2, "reputation_loss": 0.25, "term_s": 60.0}
    given = consensus(name, faults=[OUT])
    chosen = consensus(name, faults=[OUT], election=election)
    ((seat, from_s, out_s),) = chosen.turnover.failing
    assert (seat, from_s) == (0, 1000.0)
    # Votes of the first over those of the first who waits: (n + 1)^0.2, lost at 0.75 a turn.
    turns = math.floor(0.2 * math.log(n + 1) / -math.log(0.75)) + 1
    assert out_s == math.ceil((1000 + turns * chosen.round_s) / 60) * 60 < 3200
    whole, with_it, voted = times(consensus(name)), times(given), times(chosen)

    def count(found, lower, upper):
        return ((found > lower) & (found <= upper)).sum(1).double()

    assert torch.equal(count(voted, out_s, 4500), count(whole, out_s, 4500))
    assert (count(with_it, out_s, 3200) < count(whole, out_s, 3200)).all()
    before = count(voted, 1000, out_s) / count(whole, 1000, out_s)
    if name == "delegated_proof_of_stake":
        assert before[0] == pytest.approx((n - 1) / n, abs=0.02)
    else:
        assert (before < 1).all()


def test_with_more_than_a_third_away_nobody_can_be_voted_out():
    election = {"candidates": 40}
    for crashed, stays in ((6, False), (7, True)):
        chain = consensus(
            "delegated_proof_of_stake", faults=[OUT | {"crashed": crashed}], election=election
        )
        assert (chain.faults[-1].to_s == 3200) is stays
        assert len(chain.turnover.seated) == 21 + (0 if stays else 6)


def test_without_anybody_to_follow_a_delegate_stays():
    chain = consensus("dbft", faults=[OUT | {"crashed": 2}], election={"candidates": 8})
    assert [event.crashed for event in chain.faults] == [2, 1]
    assert chain.faults[-1].to_s == 3200
    assert len(consensus("dbft", faults=[OUT], election={"candidates": 7}).faults) == 1
    quiet = {"candidates": 9, "reputation_loss": 0.0}
    assert consensus("dbft", faults=[OUT], election=quiet).faults[0].to_s == 3200


@pytest.mark.parametrize("name", ELECTED)
def test_seats_go_to_the_most_votes_and_income_with_the_seat(name):
    n = read(name).validators
    votes = [1.0 + number for number in range(n + 3)]  # the last ones have the most
    changes = {
        "election": {"candidates": n + 3, "votes": votes},
        "income": {"block_reward_eur": 1.0},
        "fees": {"rule": "free"},
    }
    config = read(name).model_dump() | changes
    got = income(config).sum(0)
    assert (got[:, :3] == 0).all()
    assert got[:, 3:].min() > 0.9 * got[:, 3:].max()
    # The first seat's holder, with the most votes, is silent and loses it to candidate 2.
    late = income(config | {"faults": [OUT | {"to_s": 4500.0}]})[-1]
    assert (late[:, 2] > 0).all()
    assert (late[:, n + 2] == 0).all()
    assert (late[:, :2] == 0).all()
    all_share = income(config | {"income": {"block_reward_eur": 1.0, "to_proposer": 0.0}}).sum(0)
    expected = torch.tensor(votes).double() / sum(votes)
    torch.testing.assert_close(all_share[0] / all_share[0].sum(), expected)


@pytest.mark.parametrize(
    ("election", "says"),
    [
        ({"candidates": 6}, r"election\.candidates is 6; there are 7 seats"),
        ({"candidates": 8, "votes": [1.0]}, "votes has 1 of 8 candidates"),
        ({"candidates": 2, "votes": [1.0, 2.0], "concentration": 1.0}, "votes or concentration"),
        ({"candidates": 9, "reputation_loss": 2.0}, "reputation_loss is 2"),
        ({"candidates": 20_000}, "room for 10,000"),
    ],
)
def test_impossible_elections_are_refused(election, says):
    with pytest.raises(ConfigError, match=says):
        consensus("dbft", election=election)
