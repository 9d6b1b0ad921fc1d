"""The PettingZoo view: its API, a whole episode's determinism, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SLOTS
from pettingzoo.test import parallel_api_test

from gridbazaar import envs
from gridbazaar.envs.day import seeds_of
from gridbazaar.errors import ArgumentError, UnknownNameError
from gridbazaar.randomness import whole_seed


@pytest.fixture(scope="module")
def env():
    return envs.parallel_env(ledger="block")


def random_actions(env, rng):
    sizes = {agent: env.action_space(agent).shape for agent in env.agents}
    return {agent: rng.uniform(-1, 1, size).astype(np.float32) for agent, size in sizes.items()}


def episode(env, seed, options=None):
    """Return everything that an episode gives, the reset's observations first."""
    rng = np.random.default_rng(seed)
    told = [env.reset(seed=seed, options=options)]
    while env.agents:
        told.append(env.step(random_actions(env, rng)))
    return told


def assert_equal(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, tuple | list):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_equal(left, right)
    else:
        np.testing.assert_array_equal(a, b)


def test_pettingzoos_own_test_passes(env):
    parallel_api_test(env, num_cycles=2 * SLOTS + 5)


def test_a_whole_episode_is_the_same_for_a_seed(env):
    first = episode(env, 3)
    assert len(first) == SLOTS + 1
    assert_equal(first, episode(env, 3))
    other = episode(env, 4)
    with pytest.raises(AssertionError):
        assert_equal(first[0], other[0])


def test_a_second_environment_plays_the_same_episode(env):
    options = {"day": SLOTS * 160, "any_split": True}
    assert_equal(episode(env, 5, options), episode(envs.parallel_env(ledger="block"), 5, options))


def test_without_a_seed_days_follow_one_another_reproducibly(env):
    env.reset(seed=1)
    second, third = env.reset()[0], env.reset()[0]
    env.reset(seed=1)
    assert_equal(second, env.reset()[0])
    with pytest.raises(AssertionError):
        assert_equal(second, third)


def test_all_agents_end_together_after_a_day(env):
    *before, last = episode(env, 6)[1:]
    for _, _, done, cut, _ in before:
        assert not any(done.values())
        assert not any(cut.values())
    assert all(last[2].values())
    assert not any(last[3].values())
    assert env.agents == []


def test_what_is_given_lies_in_the_spaces(env):
    observations, infos = env.reset(seed=0)
    assert list(observations) == env.agents == list(infos) == env.possible_agents
    given = env.step(random_actions(env, np.random.default_rng(0)))
    for agent in env.agents:
        assert env.observation_space(agent).contains(given[0][agent])
        assert isinstance(given[1][agent], float)
        told = {"cleared_kw", "payment", "position_kw", "deviation_kw", "bill", "included"}
        assert set(given[4][agent]) == told
    assert env.action_space(env.agents[0]) is env.action_space(env.agents[0])


def test_bad_actions_are_refused_by_the_agents_name_or_seat(env):
    env.reset(seed=0)
    good = random_actions(env, np.random.default_rng(0))
    agent = env.agents[4]
    missing = {key: value for key, value in good.items() if key != agent}
    with pytest.raises(ValueError, match=f"no action for 1 of .* first '{agent}'"):
        env.step(missing)
    with pytest.raises(ValueError, match=rf"action of '{agent}' has shape \(2,\), expected \(3,\)"):
        env.step({**good, agent: np.zeros(2, np.float32)})
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=rf"'{agent}' has .* as correction, expected a number"):
            env.step({**good, agent: np.array([0, value, 0], np.float32)})
    assert env.simulation.t == 0
    env.step(good)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros(3, np.complex64), "holds complex64, expected 3 real numbers"),
        (np.zeros(3, bool), "holds bool, expected 3 real numbers"),
        (np.array(["a", "b", "c"]), "holds <U1, expected 3 real numbers"),
        (None, "holds object, expected 3 real numbers"),
        ([1.0, [2.0], 3.0], "is no array"),
        (torch.zeros(3, requires_grad=True), "is no array"),
        (0.5, r"has shape \(\), expected \(3,\)"),
    ],
    ids=str,
)
def test_an_action_that_is_no_row_of_real_numbers_is_refused_by_name(env, given, says):
    env.reset(seed=0)
    good = random_actions(env, np.random.default_rng(0))
    agent = env.agents[4]
    with pytest.raises(ArgumentError, match=f"action of '{agent}' {says}"):
        env.step({**good, agent: given})
    assert env.simulation.t == 0


def test_unknown_agents_and_options_are_refused_with_the_nearest_name(env):
    env.reset(seed=0)
    good = random_actions(env, np.random.default_rng(0))
    with pytest.raises(UnknownNameError, match=r"unknown agent 'ev_99': did you mean 'ev_"):
        env.step({**good, "ev_99": np.zeros(3)})
    with pytest.raises(ArgumentError, match="actions is a list, expected a dictionary"):
        env.step(list(good.values()))
    with pytest.raises(UnknownNameError, match="option of reset 'days': did you mean 'day'"):
        env.reset(options={"days": 0})
    with pytest.raises(ArgumentError, match=r"options is \[0\], expected a dictionary"):
        env.reset(options=[0])
    for day in (1.5, 96.0, "0", True, 2**63, -1):
        with pytest.raises(ArgumentError, match=r"day is .* not the first slot of a day"):
            env.reset(options={"day": day})
    assert env.simulation.t == 0


def test_numbers_beyond_the_bounds_count_as_the_bound_however_large(env):
    env.reset(seed=0)
    entries = {agent: len(env.action_entries(agent)) for agent in env.agents}
    huge = {agent: np.array([1e300, -1e300, 7, -2, 3, 1][:n]) for agent, n in entries.items()}
    played = env.step(huge)
    env.reset(seed=0)
    assert_equal(played, env.step({agent: row.clip(-1, 1) for agent, row in huge.items()}))


@pytest.mark.parametrize("seed", [1.5, 1.0, "1", True, -1, -(2**63), 2**63, 10**20, np.float32(3)])
def test_a_seed_that_is_none_is_refused_wherever_it_is_given(env, seed):
    with pytest.raises(ArgumentError, match="expected a whole number from 0 to"):
        env.reset(seed=seed)
    with pytest.raises(ArgumentError, match="expected a whole number from 0 to"):
        envs.parallel_env(seed=seed)


def test_the_largest_seed_is_none_that_wraps_to_another():
    last = 2**63 - 1
    assert whole_seed(last) == last
    assert seeds_of(np.int64(last - 2), 3).tolist() == [last - 2, last - 1, last]
    with pytest.raises(ArgumentError, match=r"from 0 to 2\*\*63 - 3"):
        seeds_of(last - 1, 3)
    for wrong in (torch.zeros(3), torch.zeros(2, dtype=torch.int64), torch.zeros(3).bool()):
        with pytest.raises(ArgumentError, match=r"seed (has shape|is torch)"):
            seeds_of(wrong, 3)


@pytest.mark.parametrize(
    "action", [np.zeros((1, 41, 6)), torch.zeros(1, 41, 6).cfloat(), torch.zeros(1, 41, 6).bool()]
)
def test_a_batch_takes_tensors_of_real_numbers_alone(env, action):
    env.reset(seed=0)
    with pytest.raises(ArgumentError, match=r"expected a tensor of real numbers \(1, 41, 6\)"):
        env.simulation.step(action)


def test_a_batch_rounds_actions_of_more_digits_and_takes_whole_numbers(env):
    zeros = torch.zeros(1, env.simulation.num_seats, 6)
    played = []
    for action in (zeros, zeros.double(), zeros.int()):
        env.reset(seed=0)
        played.append(env.simulation.step(action).reward.total)
    assert torch.equal(played[0], played[1])
    assert torch.equal(played[0], played[2])
    assert played[1].dtype == torch.float32


def test_nobody_plays_before_the_day_or_after_it(env):
    episode(env, 7)
    with pytest.raises(ValueError, match="reset"):
        env.step({})
    with pytest.raises(ValueError, match=r"the day of 96 slots is over.*reset"):
        env.simulation.step(torch.zeros(1, env.simulation.num_seats, 6))


@pytest.mark.parametrize("day", [-96, 5, 96 * 366, 10**9])
def test_a_day_that_is_not_in_the_data_is_refused(env, day):
    with pytest.raises(ValueError, match="not the first slot of a day"):
        env.reset(options={"day": day})


def test_seats_are_named_by_role(env):
    roles = {name.rpartition("_")[0] for name in env.possible_agents}
    assert roles == {"prosumer", "consumer", "ev", "storage"}
    assert len(set(env.possible_agents)) == len(env.possible_agents) == 41


def test_agents_that_share_a_policy_have_one_space_and_others_have_others(env):
    assert set(env.policies) == set(env.possible_agents)
    first = {}
    for agent, policy in env.policies.items():
        like = first.setdefault(policy, agent)
        assert env.observation_space(agent) == env.observation_space(like)
        assert env.action_space(agent) == env.action_space(like)
        assert env.observation_features(agent) == env.observation_features(like)
        assert agent.rpartition("_")[0] == like.rpartition("_")[0]
    homes = {"prosumer_pv", "prosumer_pv_storage", "consumer"}
    assert set(first) == homes | {"storage", "ev"}
    seen = {p: {f.name for f in env.observation_features(a)} for p, a in first.items()}
    done = {p: [entry.name for entry in env.action_entries(a)] for p, a in first.items()}
    assert done["storage"] == ["value", "margin", "share", "priority_fee"]
    assert done["ev"] == ["must_run_price", *done["storage"]]
    assert done["consumer"] == ["must_run_price", "correction", "priority_fee"]
    assert done["prosumer_pv_storage"] == [*done["consumer"][:2], *done["storage"]]
    assert "forecast_pv" in seen["prosumer_pv"] - seen["consumer"]
    assert {"soc", "storage_kwh"} <= seen["prosumer_pv_storage"] - seen["prosumer_pv"]
    assert "urgency" in seen["ev"] - seen["storage"]
    assert not {"forecast_load", "forecast_pv", "slots_to_departure"} & seen["storage"]


def test_entries_have_names_units_and_finite_bounds(env):
    observations, _ = env.reset(seed=0)
    layout, whole = env.simulation.game.layout, env.simulation.observe()
    for seat, agent in enumerate(env.possible_agents):
        features, space = env.observation_features(agent), env.observation_space(agent)
        assert np.isfinite([space.low, space.high]).all()
        assert (space.low < space.high).all()
        for feature, value in zip(features, observations[agent], strict=True):
            physical = layout.read(whole, feature.name)[0, seat].item()
            assert value / feature.scale == pytest.approx(physical)
        assert len(env.action_entries(agent)) == env.action_space(agent).shape[0]
        assert all(entry.unit and entry.meaning for entry in env.action_entries(agent))
    with pytest.raises(UnknownNameError, match="unknown agent 'ev_9': did you mean 'ev_"):
        env.observation_features("ev_9")


def test_what_a_seat_has_not_is_nothing_to_see_and_changes_nothing():
    plain, padded = (envs.parallel_env(ledger="block", padded=p) for p in (False, True))
    layout, rng = plain.simulation.game.layout, np.random.default_rng(0)
    (spaces,) = set(map(str, padded.observation_spaces.values()))
    assert str(layout.size) in spaces
    names = [feature.name for feature in layout.features]
    seen, whole = plain.reset(seed=4)[0], padded.reset(seed=4)[0]
    for _ in range(60):
        actions, wide = random_actions(plain, rng), random_actions(padded, rng)
        for agent in plain.agents:
            mine = [feature.name for feature in plain.observation_features(agent)]
            np.testing.assert_array_equal(whole[agent][[names.index(n) for n in mine]], seen[agent])
            others = [i for i, name in enumerate(names) if name not in mine]
            assert not whole[agent][others].any(), agent
            entries = [layout.actions.index(e.name) for e in plain.action_entries(agent)]
            wide[agent][entries] = actions[agent]
        (seen, earned, *_), (whole, same, *_) = plain.step(actions), padded.step(wide)
        assert earned == same
