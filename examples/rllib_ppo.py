"""RLlib's own PPO, nothing of ours between: one policy for each group of agents alike.

    python examples/rllib_ppo.py 10

needs nothing beyond gridbazaar. `python train.py` trains the same environment by RLlib with
markets simulated as one batch: 64 of them step in the time of one.
"""

from __future__ import annotations

import logging
import sys

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env

import gridbazaar as gb


def main(iterations: int = 10, days: int = 4, runners: int = 0) -> float:
    """Train for some iterations of some days; return the community's mean return, EUR/day."""
    policies = gb.parallel_env(task="small-v1").policies
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    register_env("small", lambda _: ParallelPettingZooEnv(gb.parallel_env(task="small-v1")))
    ray.init(address="local", num_cpus=1 + runners, include_dashboard=False, log_to_driver=False)
    config = (
        PPOConfig()
        .environment("small")
        .env_runners(num_env_runners=runners, batch_mode="complete_episodes")
        .multi_agent(
            policies=set(policies.values()),
            policy_mapping_fn=lambda agent, *_, **__: policies[agent],
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64]))
        .training(
            train_batch_size_per_learner=96 * days, minibatch_size=96, num_epochs=4, gamma=0.999
        )
        .debugging(seed=1)
    )
    algorithm = config.build_algo()
    try:
        for iteration in range(iterations):
            result = algorithm.train()
            earned = float(result["env_runners"]["episode_return_mean"])
            print(f"iteration {iteration + 1}: the community earns {earned:.2f} EUR/day")
    finally:
        algorithm.stop()
        ray.shutdown()
    return earned


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
