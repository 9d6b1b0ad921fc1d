"""The global state says what the observations say, each thing once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gridbazaar import envs
from gridbazaar.envs.observation import FEATURES, RATINGS, SEAT, read


@pytest.fixture(scope="module")
def sim():
    return envs.batched(task="rural1", ledger="block", num_envs=3, seed=4)


def test_every_entry_is_that_of_the_seat_that_sees_it(sim):
    names = sim.community.seats
    entries = sim.state_features
    assert len(entries) == len({entry.name for entry in entries})
    observation = sim.reset()
    for _ in range(3):
        state = sim.global_state()
        assert state.shape == (3, len(entries))
        assert state.isfinite().all()
        for entry, column in zip(entries, state.unbind(-1), strict=True):
            seat, _, feature = entry.name.rpartition("/")
            seen = read(observation, feature)
            value = column / entry.scale
            if seat:
                assert torch.equal(value, seen[:, names.index(seat)])
            else:
                assert (value.unsqueeze(-1) == seen).all(), feature
        observation = sim.step(torch.rand(3, len(names), 6) * 2 - 1).observation


def test_nothing_that_changes_is_left_out(sim):
    features = {entry.name.rpartition("/")[2] for entry in sim.state_features}
    constant = {feature.name for feature in (*SEAT, *RATINGS)}
    assert features == {feature.name for feature in FEATURES} - constant


def test_there_is_no_state_before_a_day_has_begun():
    with pytest.raises(ValueError, match="call reset"):
        envs.batched(task="rural1", num_envs=1).global_state()


def test_the_environment_gives_the_state_of_its_one_market():
    env = envs.parallel_env(task="rural1", seed=3)
    observations, _ = env.reset()
    state = env.state()
    assert env.state_space.contains(state)
    entries = [entry.name for entry in env.simulation.state_features]
    for agent in env.possible_agents:
        for feature, value in zip(
            env.observation_features(agent), observations[agent], strict=True
        ):
            name = feature.name if feature.name in entries else f"{agent}/{feature.name}"
            if name in entries:
                assert state[entries.index(name)] == value
    env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})
    assert (env.state() != state).any()
    assert env.state_space.contains(env.state())
