"""RLlib's algorithm class for whole days: sample every market, learn, repeat."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch, concat_samples
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TIMERS,
)
from torch import Tensor

from gridbazaar.agents.learning.standard_scores import Moments


class DayTraining(Algorithm):
    """One day in every market, then one update of every policy.

    An algorithm that learns otherwise, from a replay buffer say, overrides `training_step` and
    calls `sample_days` and `learn` as it likes.
    """

    def _setup_logdir(self) -> None:
        # RLlib would leave an empty folder in the user's home for every algorithm built.
        self._scratch = tempfile.TemporaryDirectory(prefix="gridbazaar-")
        self._logdir = self._scratch.name

    def cleanup(self) -> None:
        """Stop the actors and remove the scratch folder."""
        super().cleanup()
        self._scratch.cleanup()

    def training_step(self) -> None:
        """Sample and learn."""
        self.learn(self.sample_days())

    def sample_days(self) -> MultiAgentBatch:
        """Return the rows of all runners, as the algorithm prepares them for each policy."""
        group, iteration = self.env_runner_group, self.iteration
        # Weights go out before sampling, so that a restored algorithm needs no special case.
        group.sync_weights(
            from_worker_or_learner_group=self.learner_group,
            timeout_seconds=None,
            inference_only=False,
        )
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER), reduce="mean"):
            answers = group.foreach_env_runner(
                lambda runner: (runner.sample(iteration=iteration), runner.get_metrics()),
                local_env_runner=group.num_remote_env_runners() == 0,
            )
            self.metrics.aggregate([metrics for _, metrics in answers], key=ENV_RUNNER_RESULTS)
            batches = [batch for batch, _ in answers]
            batch = batches[0] if len(batches) == 1 else concat_samples(batches)
            prepare = self.config.env_config["algorithm"].prepare
            rows = {
                policy: SampleBatch(prepare(dict(part)))
                for policy, part in batch.policy_batches.items()
            }
        self._take_in(rows)
        return MultiAgentBatch(rows, batch.env_steps())

    def _take_in(self, rows: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Let networks that see standard scores know of new rows, of all runners together."""
        networks: Any = self.env_runner_group.local_env_runner.module
        moments = {
            policy: {column: Moments.of(columns[column]) for column in networks[policy].scores}
            for policy, columns in rows.items()
            if hasattr(networks[policy], "scores")
        }
        if moments:
            self.learner_group.foreach_learner(lambda learner: learner.take_in(moments))

    def learn(self, batch: MultiAgentBatch) -> None:
        """Update every policy from a batch, in epochs and minibatches as configured."""
        steps = (self.iteration + 1) * batch.env_steps()
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER), reduce="mean"):
            results: Any = self.learner_group.update(
                batch=batch,
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: steps},
                num_epochs=self.config.num_epochs,
                minibatch_size=self.config.minibatch_size,
            )
        self.metrics.aggregate(results, key=LEARNER_RESULTS)


class DayTrainingConfig(AlgorithmConfig):
    """RLlib's configuration for an algorithm that RLlib has none for; modules are always given."""

    def __init__(self, algo_class: type[DayTraining] = DayTraining):
        super().__init__(algo_class=algo_class)

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """Return nothing in particular: the algorithm gives the modules."""
        return RLModuleSpec()
