"""The rollout, which knows no algorithm; and how any RLModule acts."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchSquashedGaussian
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.torch import TorchRLModule

from gridbazaar import envs
from gridbazaar.agents.learning.bidder import act
from gridbazaar.agents.learning.reward_shaping import given_bill
from gridbazaar.agents.learning.rollout import Choice, play
from gridbazaar.envs.global_state import GlobalState

BOX, ACTION = gym.spaces.Box(-np.inf, np.inf, (5,)), gym.spaces.Box(-1, 1, (2,))


@pytest.fixture(scope="module")
def sim():
    return envs.batched(task="rural1", num_envs=3, seed=2)


@pytest.fixture(scope="module")
def groups(sim):
    return {group.name: group for group in sim.game.groups}


def explore(group, observation, noise, memory):
    """Count the intervals in the memory, and remember some of what was seen."""
    played = (memory or 0) + 1
    return Choice(0.3 * noise, {"seen": observation[..., :2], "played": noise * 0 + played}, played)


@pytest.fixture(scope="module")
def day(sim):
    return play(sim, explore, seed=7, global_state=True)


def test_observations_before_and_after_are_views_of_one_tensor(day, groups):
    for name in groups:
        part = day.trajectory(name, day.reward)
        assert torch.equal(part.next_observation[:-1], part.observation[1:])
        assert part.next_observation.data_ptr() == part.observation[1].data_ptr()
        assert part.observation.flatten(0, 2).data_ptr() == part.observation.data_ptr()
        assert part.next_state.data_ptr() == part.state[1].data_ptr()


def test_a_rollout_is_the_day_that_its_actions_play(sim, groups, day):
    observation, reward, given = sim.reset(seed=7), [], []
    whole = GlobalState(sim.game.layout, sim.community.seats, sim.game.groups)
    for t in range(sim.slots):
        action = torch.zeros(3, sim.num_seats, len(sim.game.layout.actions))
        for name, group in groups.items():
            part = day.trajectory(name, day.reward)
            assert torch.equal(part.observation[t], group.see(observation))
            assert torch.equal(part.state[t], whole(observation))
            for column, entry in enumerate(group.acted.tolist()):
                action[:, group.seats, entry] = part.action[t, ..., column]
        interval = sim.step(action)
        observation = interval.observation
        reward.append(interval.reward.total)
        given.append(given_bill(interval, sim.community.slot_h))
    assert torch.equal(day.reward, torch.stack(reward))
    assert torch.equal(day.given, torch.stack(given))
    for name, group in groups.items():
        part = day.trajectory(name, day.reward)
        assert torch.equal(part.next_observation[-1], group.see(observation))
        assert torch.equal(part.reward, day.reward[:, :, group.seats])


def test_what_is_remembered_and_when_the_day_is_done(sim, groups, day):
    for name in groups:
        part = day.trajectory(name, day.reward)
        assert torch.equal(part.remembered["seen"], part.observation[..., :2])
        assert part.remembered["played"][:, 0, 0, 0].tolist() == list(range(1, sim.slots + 1))
    assert day.done.shape == (sim.slots, 3)
    assert day.done[-1].all()
    assert not day.done[:-1].any()


def test_the_global_state_is_not_kept_unless_asked_for(sim, groups):
    day = play(sim, explore, seed=7)
    assert day.state is None
    assert day.trajectory(next(iter(groups)), day.reward).next_state is None


class Squashed(TorchRLModule):
    def setup(self):
        self.layer = torch.nn.Linear(5, 4)

    def _forward(self, batch, **kwargs):
        return {Columns.ACTION_DIST_INPUTS: 3 * self.layer(batch[Columns.OBS])}


@torch.no_grad()
def test_a_squashed_policy_acts_by_its_squashed_mean():
    module = Squashed(observation_space=BOX, action_space=ACTION)
    module.action_dist_cls = TorchSquashedGaussian
    seen = torch.randn(20, 5)
    action, memory = act(module, seen)
    mean = (3 * module.layer(seen))[:, :2]
    torch.testing.assert_close(action, torch.tanh(mean))
    assert mean.abs().max() > 1
    assert memory is None


@torch.no_grad()
def test_a_recurrent_policy_acts_interval_by_interval_as_on_the_whole_sequence():
    config = DefaultModelConfig(use_lstm=True, lstm_cell_size=8, fcnet_hiddens=[8])
    module = DefaultPPOTorchRLModule(
        observation_space=BOX, action_space=ACTION, model_config=config
    ).eval()
    seen, memory, actions = torch.randn(7, 6, 5), None, []
    for t in range(6):
        action, memory = act(module, seen[:, t], memory)
        actions.append(action)
    first = {k: v.expand(7, *v.shape) for k, v in module.get_initial_state().items()}
    whole = module.forward_inference({Columns.OBS: seen, Columns.STATE_IN: first})
    mean = whole[Columns.ACTION_DIST_INPUTS][..., :2].clamp(-1, 1)
    torch.testing.assert_close(torch.stack(actions, 1), mean)
