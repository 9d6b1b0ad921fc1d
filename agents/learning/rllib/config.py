"""A run as a configuration of RLlib: the algorithm's part, and world, runners, devices, modules."""

from __future__ import annotations

from collections.abc import Mapping

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from gridbazaar import plugins
from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning.algorithm import Algorithm, Workload
from gridbazaar.agents.learning.rllib.env_runner import DayRunner
from gridbazaar.envs.spaces import Spaces

# Ray seeds NumPy's old generator, which takes 32 bits.
_NUMPY_SEEDS = 1 << 32


def workload(config: TrainConfig, num_seats: int, slots: int) -> Workload:
    """Return how much a run samples.

    Args:
        config: of the run.
        num_seats: N.
        slots: intervals of a day.
    """
    env_steps = slots * config.num_envs * max(1, config.num_env_runners)
    return Workload(
        env_steps=env_steps,
        agent_steps=env_steps * num_seats,
        slots=slots,
        total_env_steps=max(1, config.total_agent_steps // num_seats),
        learners=max(1, config.num_learners),
    )


def rllib_config(
    config: TrainConfig, algorithm: Algorithm, spaces: Mapping[str, Spaces], work: Workload
) -> AlgorithmConfig:
    """Translate a run into RLlib's terms.

    Args:
        config: as composed from configs/train.yaml.
        algorithm: made of `config.algorithm`.
        spaces: of the groups of seats, one module each.
        work: see `workload`.
    """
    cuda = config.device == "cuda"
    first = next(iter(spaces.values()))
    return (
        algorithm.training(work)
        .environment(
            None,
            observation_space=first.observation,
            action_space=first.action,
            disable_env_checking=True,
            env_config={
                "train": config.model_dump(),
                "algorithm": algorithm,
                "spaces": dict(spaces),
                "plugins": plugins.modules(),
            },
        )
        .env_runners(
            env_runner_cls=algorithm.runner or DayRunner,
            num_env_runners=config.num_env_runners,
            num_gpus_per_env_runner=float(cuda and config.num_env_runners > 0) / 4,
        )
        # A machine that is lost shall not hold the others up for long.
        .fault_tolerance(restart_failed_env_runners=True, env_runner_health_probe_timeout_s=5.0)
        .learners(num_learners=config.num_learners, num_gpus_per_learner=int(cuda))
        .multi_agent(
            policies={g: (None, each.observation, each.action, {}) for g, each in spaces.items()},
            # Our runner plays whole batches and asks for no agent's policy, but RLlib wants one.
            policy_mapping_fn=lambda *_, **__: next(iter(spaces)),
        )
        .rl_module(rl_module_spec=algorithm.modules(spaces))
        .training(train_batch_size_per_learner=work.agent_steps // work.learners)
        .debugging(seed=config.seed % _NUMPY_SEEDS, log_level="ERROR")
    )
