"""Who learns, who shares a policy, and who plays by rule."""

from __future__ import annotations

import pytest
import torch

from gridbazaar import envs
from gridbazaar.agents.bidders import make as make_bidder
from gridbazaar.agents.learning.algorithm import make, networks
from gridbazaar.agents.learning.bidder import LearnedBidder
from gridbazaar.agents.learning.rollout import Choice, play
from gridbazaar.agents.learning.roster import check, roster
from gridbazaar.configs import compose
from gridbazaar.envs.spaces import spaces_of
from gridbazaar.errors import ConfigError, UnknownNameError


@pytest.fixture(scope="module")
def sim():
    return envs.batched("small", num_envs=2, split="train")


def learned(sim, who, device="cpu"):
    algorithm = make(compose("train", ["name=x"])["algorithm"])
    modules = networks(algorithm, spaces_of(sim, groups=who.groups))
    entries = len(sim.game.layout.actions)
    return LearnedBidder(modules, who.groups, entries, who.others(sim.game, device))


@pytest.mark.parametrize("sharing", ["group", "seat", "all"])
def test_every_seat_has_one_policy_whoever_shares_it(sharing, sim):
    who = roster(sim.game, sharing)
    seats = torch.cat([group.seats for group in who.groups]).sort().values
    assert seats.tolist() == list(range(sim.num_seats))
    count = {"group": len(sim.game.groups), "seat": sim.num_seats, "all": 1}[sharing]
    assert len(who.groups) == len({group.name for group in who.groups}) == count
    assert not who.fixed
    if sharing == "seat":
        assert {group.name for group in who.groups} == set(sim.game.seats)


@pytest.mark.parametrize("sharing", ["group", "seat", "all"])
def test_untrained_policies_play_the_prior_whoever_shares_them(sharing, sim):
    bidder, classic = learned(sim, roster(sim.game, sharing)), make_bidder("truthful", sim.game)
    observation = sim.reset(seed=1)
    for _ in range(40):
        mine, his = bidder.act(observation)[0], classic.act(observation, None)[0]
        for group in sim.game.groups:
            at = (slice(None), group.seats.unsqueeze(-1), group.acted)
            torch.testing.assert_close(mine[at], his[at], atol=0.02, rtol=0)
        observation = sim.step(his).observation


def test_the_narrowest_name_says_who_plays_a_seat(sim):
    fixed = {"default": "own_use", "prosumer": "truthful", "prosumer_0": "learned", "ev": "learned"}
    who = roster(sim.game, "seat", fixed)
    assert [group.name for group in who.groups] == ["prosumer_0", "ev_0", "ev_1"]
    names = {name: [sim.game.seats[i] for i in seats] for name, seats in who.fixed.items()}
    assert set(names) == {"own_use", "truthful"}
    assert names["truthful"] == ["prosumer_1", "prosumer_2"]
    assert "storage_0" in names["own_use"]


def test_those_who_do_not_learn_play_their_rule_in_training_and_from_a_checkpoint(sim):
    who = roster(sim.game, "group", {"ev": "own_use"})
    seats = who.fixed["own_use"]
    bidder, classic = learned(sim, who), make_bidder("own_use", sim.game)
    state, seen = None, []

    def explore(group, observation, noise, memory):
        return Choice(0 * noise, {})

    others = who.others(sim.game)
    first = play(sim, explore, 5, groups=who.groups, others=others)
    assert set(first.parts) == {group.name for group in sim.game.groups} - {"ev"}
    observation = sim.reset(seed=5)
    for t in range(sim.slots):
        # What training played: the others' rule, and nothing but zeros of those who learn.
        expected = torch.zeros_like(bidder.act(observation)[0])
        rule = classic.act(observation, None)[0]
        expected[:, seats] = rule[:, seats]
        mine, state = bidder.act(observation, state)
        torch.testing.assert_close(mine[:, seats], rule[:, seats])
        interval = sim.step(expected)
        seen.append(interval.reward.total)
        observation = interval.observation
        if t > 50:
            break
    torch.testing.assert_close(first.reward[: len(seen)], torch.stack(seen))


@pytest.mark.parametrize(
    ("fixed", "kind", "message"),
    [
        ({"evv": "truthful"}, UnknownNameError, "did you mean 'ev'"),
        ({"ev": "truthfull"}, UnknownNameError, "did you mean 'truthful'"),
        ({"default": "truthful"}, ConfigError, "leaves nobody who learns"),
    ],
    ids=str,
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest(fixed, kind, message, sim):
    with pytest.raises(kind, match=message):
        check(sim.game, fixed)


def test_one_policy_for_all_is_refused_where_it_could_not_tell_devices_apart(sim):
    game = sim.game
    efficiency = game.efficiency.clone()
    owners = (efficiency != 1).any(-1).nonzero().flatten()
    efficiency[owners[0]] *= 0.9
    other = type(game)(**{**vars(game), "efficiency": efficiency})
    (group,) = roster(other, "all").groups
    with pytest.raises(ConfigError, match="choose policies=group"):
        other.seen_by(group)
