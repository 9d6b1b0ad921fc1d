"""Agent steps per second of training, sampling and learning together: ours against stock RLlib.

    python benchmarks/training.py            # a table
    python benchmarks/training.py --json

Both paths train the default task with the same networks, hyper-parameters and batch size, one after
the other in one process. Stock is RLlib's MultiAgentEnvRunner on the PettingZoo environment. RLlib
cuts minibatches per module, ours over all modules: stock gets the same number of rows in total.
Ours is measured a second time at the training default's number of markets.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from typing import Any

import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED
from ray.tune.registry import register_env

from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning.algorithms.ppo import PPO, PPOSettings
from gridbazaar.agents.learning.rllib.config import rllib_config, workload
from gridbazaar.agents.learning.rllib.session import ray_session
from gridbazaar.config import validate
from gridbazaar.configs import compose
from gridbazaar.envs.build import build
from gridbazaar.envs.market_env import MarketEnv
from gridbazaar.envs.spaces import spaces_of

ROLES = ("prosumer", "storage", "ev", "consumer")


def settings(markets: int | None) -> TrainConfig:
    words = ["name=benchmark"] if markets is None else ["name=benchmark", f"num_envs={markets}"]
    return validate(TrainConfig, compose("train", words))


def ppo_settings(config: TrainConfig) -> PPOSettings:
    return validate(PPOSettings, config.algorithm)


def our_config(config: TrainConfig, seats: int, slots: int) -> Any:
    """Return our path through RLlib."""
    spaces = spaces_of(build(config.world, 1, "train", config.seed))
    work = workload(config, seats, slots)
    return rllib_config(config, PPO(ppo_settings(config)), spaces, work)


def stock_config(config: TrainConfig, seats: int, slots: int) -> PPOConfig:
    """Return RLlib's own path, set as ours is."""
    a, env = ppo_settings(config), MarketEnv(config.world)
    spaces, policies = spaces_of(env.simulation), env.policies
    register_env("market", lambda _: ParallelPettingZooEnv(MarketEnv(config.world)))
    return (
        PPOConfig()
        .environment("market", disable_env_checking=True)
        .env_runners(num_env_runners=0, batch_mode="complete_episodes")
        .multi_agent(
            policies={g: (None, each.observation, each.action, {}) for g, each in spaces.items()},
            policy_mapping_fn=lambda agent, *_, **__: policies[agent],
            count_steps_by="agent_steps",
        )
        .rl_module(rl_module_spec=PPO(a).modules(spaces))
        .training(
            lr=a.lr,
            gamma=a.gamma,
            lambda_=a.lambda_,
            train_batch_size_per_learner=slots * seats * config.num_envs,
            minibatch_size=a.minibatch_size // len(spaces),
            num_epochs=a.num_epochs,
            clip_param=a.clip_param,
            grad_clip=a.grad_clip,
            grad_clip_by="global_norm",
            vf_loss_coeff=a.vf_loss_coeff,
            vf_clip_param=a.vf_clip_param,
            entropy_coeff=a.entropy_coeff,
            kl_coeff=a.kl_coeff,
            kl_target=a.kl_target,
        )
        .debugging(seed=config.seed, log_level="ERROR")
    )


def measure(algorithm_settings: Any, seats: int, repeats: int) -> dict[str, float]:
    """Return the median over `repeats` iterations, after one that warms up.

    Steps are those RLlib counted, not those it was asked for.
    """
    algorithm: Any = algorithm_settings.build_algo()
    try:
        algorithm.train()
        seconds, agent_steps = [], 0
        for _ in range(repeats):
            start = time.perf_counter()
            result = algorithm.train()
            seconds.append(time.perf_counter() - start)
            agent_steps = int(result[ENV_RUNNER_RESULTS][NUM_ENV_STEPS_SAMPLED]) * seats
    finally:
        algorithm.stop()
    middle = statistics.median(seconds)
    return {
        "agent_steps": agent_steps,
        "seconds": middle,
        "slowest_seconds": max(seconds),
        "agent_steps_per_s": agent_steps / middle,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--markets", type=int, default=16, help="days per batch in both paths")
    parser.add_argument("--repeats", type=int, default=3, help="timed iterations of each")
    words = parser.parse_args()
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    same, default = settings(words.markets), settings(None)
    community = MarketEnv(same.world).simulation
    slots, seats = community.slots, community.num_seats
    with ray_session(same.ray):
        rows = {
            name: measure(given, seats, repeats)
            for name, given, repeats in (
                ("stock", stock_config(same, seats, slots), 1),
                ("ours", our_config(same, seats, slots), words.repeats),
                (
                    "ours_default",
                    our_config(default, seats, slots),
                    words.repeats,
                ),
            )
        }
    ratio = rows["ours"]["agent_steps_per_s"] / rows["stock"]["agent_steps_per_s"]
    result = {**rows, "ours_over_stock": ratio, "torch_threads": torch.get_num_threads()}
    if words.json:
        print(json.dumps(result))
        return
    for name, row in rows.items():
        print(
            f"{name:13} {row['agent_steps']:>8,} agent steps in {row['seconds']:7.2f} s: "
            f"{row['agent_steps_per_s']:>9,.0f} /s"
        )
    print(f"ours over stock at the same batch: {ratio:.1f}")


if __name__ == "__main__":
    main()
