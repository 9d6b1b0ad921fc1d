"""The PettingZoo environment trains under RLlib's own path, without anything of ours."""

import logging

import numpy as np
import pytest
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env

from gridbazaar import envs


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.long
def test_rllibs_own_ppo_learns_from_agents_with_spaces_of_their_own():
    policies = envs.parallel_env().policies
    assert len(set(policies.values())) > 1
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    register_env("gridbazaar", lambda _: ParallelPettingZooEnv(envs.parallel_env()))
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    config = (
        PPOConfig()
        .environment("gridbazaar")
        .env_runners(num_env_runners=0, batch_mode="complete_episodes")
        .multi_agent(
            policies=set(policies.values()),
            policy_mapping_fn=lambda agent, *_, **__: policies[agent],
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[16]))
        .training(train_batch_size_per_learner=96, minibatch_size=64, num_epochs=1)
    )
    try:
        algorithm = config.build_algo()
        before = weights(algorithm)
        result = algorithm.train()
        after = weights(algorithm)
        algorithm.stop()
    finally:
        ray.shutdown()
    assert np.isfinite(result["env_runners"]["episode_return_mean"])
    for name in set(policies.values()):
        assert np.isfinite(result["learners"][name]["total_loss"])
        assert any((before[name][key] != after[name][key]).any() for key in before[name])


def weights(algorithm):
    found = algorithm.learner_group.get_weights()
    return {r: {k: np.array(v, copy=True) for k, v in found[r].items()} for r in found}
