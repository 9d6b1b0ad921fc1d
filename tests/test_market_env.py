"""The PettingZoo view: its API, a whole episode's determinism, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SLOTS
from pettingzoo.test import parallel_api_test

from gridbazaar import envs


@pytest.fixture(scope="module")
def env():
    return envs.parallel_env(ledger="block")


def random_actions(env, rng):
    return {agent: rng.uniform(-1, 1, 3).astype(np.float32) for agent in env.agents}


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
    options = {"day": SLOTS * 160}
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
        assert set(given[4][agent]) == {"cleared_kw", "price", "bill", "included"}
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
        with pytest.raises(ValueError, match=r"seat 4 .* as entry 1, expected a number"):
            env.step({**good, agent: np.array([0, value, 0], np.float32)})
    assert env.simulation.t == 0
    env.step(good)


def test_nobody_plays_before_the_day_or_after_it(env):
    episode(env, 7)
    with pytest.raises(ValueError, match="reset"):
        env.step({})
    with pytest.raises(ValueError, match=r"the day of 96 slots is over.*reset"):
        env.simulation.step(torch.zeros(1, env.simulation.num_seats, 3))


@pytest.mark.parametrize("day", [-96, 5, 96 * 366, 10**9])
def test_a_day_that_is_not_in_the_data_is_refused(env, day):
    with pytest.raises(ValueError, match="not the first slot of a day"):
        env.reset(options={"day": day})


def test_seats_are_named_by_role(env):
    roles = {name.rpartition("_")[0] for name in env.possible_agents}
    assert roles == {"prosumer", "consumer", "ev", "storage"}
    assert len(set(env.possible_agents)) == len(env.possible_agents) == 41
