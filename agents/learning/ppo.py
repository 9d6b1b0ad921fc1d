"""PPO by RLlib, with days of whole market batches in place of Python episodes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

from ray.rllib.algorithms.ppo.ppo import PPO, PPOConfig
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.policy.sample_batch import MultiAgentBatch, concat_samples
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TIMERS,
)

from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning.env_runner import DayRunner
from gridbazaar.agents.learning.learner import DayLearner
from gridbazaar.agents.learning.returns import standardise
from gridbazaar.agents.learning.role_module import ACTION_SPACE, OBSERVATION_SPACE, role_specs


class DayPPO(PPO):
    """RLlib's PPO: one day in every market, then one update of every role."""

    def _setup_logdir(self) -> None:
        # RLlib would leave an empty folder in the user's home for every algorithm built.
        self._scratch = tempfile.TemporaryDirectory(prefix="gridbazaar-")
        self._logdir = self._scratch.name

    def cleanup(self) -> None:
        """Stop the actors and remove the scratch folder."""
        super().cleanup()
        self._scratch.cleanup()

    def training_step(self) -> None:
        """Sample, standardise advantages per role, learn."""
        # Weights go out before sampling, so that a restored algorithm needs no special case.
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group,
            timeout_seconds=None,
            inference_only=False,
        )
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER), reduce="mean"):
            batch = self._sample()
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER), reduce="mean"):
            results = self.learner_group.update(
                batch=batch,
                timesteps={
                    NUM_ENV_STEPS_SAMPLED_LIFETIME: (self.iteration + 1) * batch.env_steps()
                },
                num_epochs=self.config.num_epochs,
                minibatch_size=self.config.minibatch_size,
            )
        self.metrics.aggregate(results, key=LEARNER_RESULTS)

    def _sample(self) -> MultiAgentBatch:
        """Return the batch of all runners, advantages standardised per role."""
        group, iteration = self.env_runner_group, self.iteration
        answers = group.foreach_env_runner(
            lambda runner: (runner.sample(iteration=iteration), runner.get_metrics()),
            local_env_runner=group.num_remote_env_runners() == 0,
        )
        self.metrics.aggregate([metrics for _, metrics in answers], key=ENV_RUNNER_RESULTS)
        batches = [batch for batch, _ in answers]
        batch = batches[0] if len(batches) == 1 else concat_samples(batches)
        for rows in batch.policy_batches.values():
            rows[Postprocessing.ADVANTAGES] = standardise(rows[Postprocessing.ADVANTAGES])
        return batch


def steps_per_iteration(config: TrainConfig, slots: int) -> int:
    """Return how many environment steps one iteration samples, all runners together."""
    return slots * config.num_envs * max(1, config.num_env_runners)


def algorithm_config(
    config: TrainConfig, roles: Sequence[str], num_seats: int, slots: int
) -> PPOConfig:
    """Translate a training configuration into RLlib's.

    Args:
        config: as composed from configs/train.yaml.
        roles: those of the community, one module each.
        num_seats: N.
        slots: intervals of a day.
    """
    a, cuda = config.algorithm, config.device == "cuda"
    env_steps = steps_per_iteration(config, slots)
    total_env_steps = max(1, config.total_agent_steps // num_seats)
    learners = max(1, config.num_learners)

    def falling(start: float, end: float) -> Any:
        return start if start == end else [[0, start], [total_env_steps, end]]

    return (
        PPOConfig(algo_class=DayPPO)
        .environment(
            None,
            observation_space=OBSERVATION_SPACE,
            action_space=ACTION_SPACE,
            disable_env_checking=True,
            env_config={"train": config.model_dump(), "roles": list(roles)},
        )
        .env_runners(
            env_runner_cls=DayRunner,
            num_env_runners=config.num_env_runners,
            num_gpus_per_env_runner=float(cuda and config.num_env_runners > 0) / 4,
        )
        .learners(
            learner_class=DayLearner,
            num_learners=config.num_learners,
            num_gpus_per_learner=int(cuda),
        )
        .multi_agent(
            policies={role: (None, OBSERVATION_SPACE, ACTION_SPACE, {}) for role in roles},
            policy_mapping_fn=role_of,
        )
        .rl_module(rl_module_spec=role_specs(roles, a))
        .training(
            lr=falling(a.lr, a.lr_end),
            gamma=a.gamma,
            lambda_=a.lambda_,
            train_batch_size_per_learner=env_steps * num_seats // learners,
            minibatch_size=max(1, min(a.minibatch_size, env_steps * num_seats) // learners),
            num_epochs=a.num_epochs,
            clip_param=a.clip_param,
            grad_clip=a.grad_clip,
            grad_clip_by="global_norm",
            vf_loss_coeff=a.vf_loss_coeff,
            vf_clip_param=a.vf_clip_param,
            entropy_coeff=falling(a.entropy_coeff, a.entropy_coeff_end),
            use_kl_loss=True,
            kl_coeff=a.kl_coeff,
            kl_target=a.kl_target,
        )
        .debugging(seed=config.seed, log_level="ERROR")
    )


def role_of(agent: str, *_: Any, **__: Any) -> str:
    """Return the module that plays a seat named `<role>_<number>`."""
    return agent.rpartition("_")[0]
