"""Environments without a seed: entropy begins them, and no copy plays another's days."""

from __future__ import annotations

import copy
import logging

import cloudpickle
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from one_seat import OneSeat

from gridbazaar import envs
from gridbazaar.errors import ArgumentError, UnknownNameError

COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda e: cloudpickle.loads(cloudpickle.dumps(e))}


@pytest.fixture(scope="module")
def fresh():
    """An environment that nobody ever reset or seeded; tests play copies of it."""
    return envs.parallel_env(task="small", ledger="block")


def days(env, resets=4):
    """Return what the agents see at the beginning of some days that follow one another."""
    told = []
    for _ in range(resets):
        observations, _ = env.reset()
        told.append(np.concatenate([observations[agent] for agent in env.agents]))
    return np.stack(told)


def assert_differ(one, other):
    """Every day of one is another than its counterpart: at least the stored energy is."""
    assert one.shape == other.shape
    assert (one != other).any(-1).all()


@pytest.mark.parametrize("clone", COPIES.values(), ids=COPIES)
def test_copies_of_an_environment_without_a_seed_play_different_days(fresh, clone):
    assert_differ(days(clone(fresh)), days(clone(fresh)))
    begun = clone(fresh)
    begun.reset()
    assert_differ(days(clone(begun)), days(clone(begun)))


@pytest.mark.parametrize("clone", COPIES.values(), ids=COPIES)
def test_a_copy_goes_on_with_the_day_that_was_begun(fresh, clone):
    env = clone(fresh)
    env.reset()
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    twin = clone(env)
    one, other = env.step(actions), twin.step(actions)
    assert one[1] == other[1]
    assert one[4] == other[4]
    assert_differ(days(env), days(twin))


@pytest.mark.parametrize("clone", COPIES.values(), ids=COPIES)
def test_what_was_given_a_seed_is_copied_with_it(fresh, clone):
    env = clone(fresh)
    env.reset(seed=3)
    np.testing.assert_array_equal(days(clone(env)), days(clone(env)))
    begun, again = days(env), clone(env)
    again.reset(seed=3)
    np.testing.assert_array_equal(days(again), begun)


def test_a_seed_of_the_constructor_is_that_of_the_first_day():
    first, second = (envs.parallel_env(task="small", seed=5) for _ in range(2))
    np.testing.assert_array_equal(days(first), days(second))
    second.reset(seed=5)
    first = envs.parallel_env(task="small", seed=5)
    first.reset()
    np.testing.assert_array_equal(days(first), days(second))


def test_batches_without_a_seed_differ_and_so_do_their_markets():
    one, other = (envs.batched(task="small", num_envs=3).reset() for _ in range(2))
    assert_differ(one.flatten(1).numpy(), other.flatten(1).numpy())
    assert_differ(one[:2].flatten(1).numpy(), one[1:].flatten(1).numpy())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_supersuits_copies_play_different_days_auto_resets_included():
    supersuit = pytest.importorskip("supersuit", reason="pip install 'gridbazaar[recipes]'")
    env = envs.parallel_env(task="small", padded=True)
    vector = supersuit.pettingzoo_env_to_vec_env_v1(env)
    both = supersuit.concat_vec_envs_v1(vector, 2, num_cpus=0, base_class="gymnasium")
    seats, slots = len(env.possible_agents), env.simulation.slots
    observations, _ = both.reset()
    assert_differ(observations[:seats].reshape(1, -1), observations[seats:].reshape(1, -1))
    for _ in range(slots):
        observations, *_ = both.step(np.zeros((2 * seats, *both.action_space.shape), "f4"))
    assert_differ(observations[:seats].reshape(1, -1), observations[seats:].reshape(1, -1))
    both.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_two_runners_of_rllib_play_different_days():
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
    from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
    from ray.tune.registry import register_env

    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    register_env(
        "small", lambda _: ParallelPettingZooEnv(envs.parallel_env(task="small", padded=True))
    )
    config = (
        PPOConfig()
        .environment("small", disable_env_checking=True)
        .multi_agent(policies={"all"}, policy_mapping_fn=lambda *_, **__: "all")
        .env_runners(num_env_runners=2, rollout_fragment_length=192)
    )
    runners = [MultiAgentEnvRunner(config=config, worker_index=k) for k in (1, 2)]
    # A day and the first slot of the next, which RLlib begins by itself.
    played = [runner.sample(num_timesteps=97, random_actions=True) for runner in runners]
    begun = [
        np.stack([np.concatenate(list(day.get_observations(0).values())) for day in days_of])
        for days_of in played
    ]
    assert len(begun[0]) == 2
    assert_differ(*begun)
    for runner in runners:
        runner.stop()


def test_a_vector_of_gymnasium_plays_different_days_auto_resets_included():
    def seat():
        return OneSeat(envs.parallel_env(task="small"))

    vector = SyncVectorEnv([seat, seat], autoreset_mode=AutoresetMode.SAME_STEP)
    observations, _ = vector.reset()
    assert (observations[0] != observations[1]).any()
    for _ in range(96):
        observations, _, ended, *_ = vector.step(np.zeros(vector.action_space.shape, "f4"))
    assert ended.all()
    assert (observations[0] != observations[1]).any()
    seeded, _ = vector.reset(seed=4)
    again, _ = vector.reset(seed=4)
    np.testing.assert_array_equal(seeded, again)
    assert (seeded[0] != seeded[1]).any()


def test_a_day_of_another_split_is_refused_unless_it_is_meant(fresh):
    env = copy.deepcopy(fresh)
    own, other = (int(env.simulation.community.days[split][3]) for split in ("train", "test"))
    env.reset(options={"day": own})
    assert env.simulation.first_slot.tolist() == [own]
    with pytest.raises(ArgumentError, match=f"day {other} belongs to test, and this .* train: .*"):
        env.reset(options={"day": other})
    with pytest.raises(ArgumentError, match="day 0 belongs to no split"):
        env.reset(options={"day": 0})
    assert env.simulation.first_slot.tolist() == [own]
    for day in (other, 0):
        env.reset(options={"day": day, "any_split": True})
        assert env.simulation.first_slot.tolist() == [day]


def test_unknown_options_and_words_for_truth_are_refused(fresh):
    with pytest.raises(UnknownNameError, match="'any_splits': did you mean 'any_split'"):
        fresh.reset(options={"any_splits": True})
    with pytest.raises(ArgumentError, match="any_split is 'yes', expected True or False"):
        fresh.reset(options={"day": 96, "any_split": "yes"})
    with pytest.raises(ValueError, match="no day has begun"):
        fresh.simulation.observe()
