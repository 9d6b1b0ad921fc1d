"""RLlib's algorithm class for whole days: sample every market, learn, repeat."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import torch
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
        group = self.env_runner_group
        # Weights go out before sampling, so that a restored algorithm needs no special case.
        group.sync_weights(
            from_worker_or_learner_group=self.learner_group,
            timeout_seconds=None,
            inference_only=False,
        )
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER), reduce="mean"):
            answers = self._answers()
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

    def _answers(self) -> list[tuple[MultiAgentBatch, Any]]:
        """Return each runner's days and metrics, in the order of the runners.

        The days of a runner that was lost, with its machine say, are played in this process: a run
        has the same days whoever plays them. RLlib starts the runner anew where there is room.
        """
        group, iteration = self.env_runner_group, self.iteration
        wanted = range(1, self.config.num_env_runners + 1) or range(1)

        def play(runner: Any, number: int | None = None) -> tuple[int, MultiAgentBatch, Any]:
            number = runner.worker_index if number is None else number
            batch = runner.sample(iteration=iteration, runner=number)
            return number, batch, runner.get_metrics()

        found = {}
        if self.config.num_env_runners:
            answers = group.foreach_env_runner(play, local_env_runner=False)
            found = {number: (batch, metrics) for number, batch, metrics in answers}
        for number in wanted:
            if number not in found:
                _, *answer = play(group.local_env_runner, number)
                found[number] = (answer[0], answer[1])
        return [found[number] for number in wanted]

    def _take_in(self, rows: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Let networks that see standard scores know of new rows, of all runners together."""
        networks: Any = self.env_runner_group.local_env_runner.module
        moments = {
            policy: {name: Moments.of(columns[name]) for name in scored if name in columns}
            for policy, columns in rows.items()
            if (scored := getattr(networks[policy], "scores", None)) is not None
        }
        if moments:
            self.learner_group.foreach_learner(lambda learner: learner.take_in(moments))

    def learn(self, batch: MultiAgentBatch) -> None:
        """Update every policy from a batch, in epochs and minibatches as configured."""
        steps = (self.iteration + 1) * batch.env_steps()
        learners = self.config.num_learners
        if learners > 1:
            batch = evenly_mixed(batch, learners, self.iteration)
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER), reduce="mean"):
            results: Any = self.learner_group.update(
                batch=batch,
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: steps},
                num_epochs=self.config.num_epochs,
                minibatch_size=self.config.minibatch_size,
            )
        self.metrics.aggregate(results, key=LEARNER_RESULTS)


def evenly_mixed(batch: MultiAgentBatch, learners: int, seed: int) -> MultiAgentBatch:
    """Return a batch's rows in another order, as many for every learner.

    RLlib cuts a batch into parts in a row, so that one learner would have the mornings, and
    learners whose parts differ in size wait for each other for ever. Missing rows are shown twice.

    Args:
        batch: tensors alone.
        learners: that share it.
        seed: of the order.
    """
    generator = torch.Generator().manual_seed(seed)
    mixed = {}
    for policy, rows in batch.policy_batches.items():
        columns = {name: torch.as_tensor(column) for name, column in rows.items()}
        count = len(next(iter(columns.values())))
        place = torch.arange(count + -count % learners) % count
        order = torch.randperm(count, generator=generator)[place]
        mixed[policy] = SampleBatch(
            {name: column[order.to(column.device)] for name, column in columns.items()}
        )
    return MultiAgentBatch(mixed, batch.env_steps())


class DayTrainingConfig(AlgorithmConfig):
    """RLlib's configuration for an algorithm that RLlib has none for; modules are always given."""

    def __init__(self, algo_class: type[DayTraining] = DayTraining):
        super().__init__(algo_class=algo_class)

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """Return nothing in particular: the algorithm gives the modules."""
        return RLModuleSpec()
