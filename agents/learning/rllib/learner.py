"""RLlib's learner, fed with minibatches that keep the policies' proportions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from torch import Tensor

from gridbazaar.agents.learning.standard_scores import Moments


class ProportionalMinibatches:
    """Every policy's rows, shuffled anew in each epoch, in the same number of equal parts.

    RLlib's own iterator gives each module minibatches of one size and starts small batches over
    until the largest is through: two storage seats beside twenty consumers would be learned from
    ten times as often.

    Args:
        batch: tensors alone; one SampleBatch per module.
        num_epochs: passes over the batch.
        minibatch_size: rows of all modules together, about.
        seed: of the shuffles.
    """

    def __init__(self, batch: MultiAgentBatch, num_epochs: int, minibatch_size: int, seed: int):
        self._batch, self._num_epochs, self._seed = batch, num_epochs, seed
        counts = [len(rows) for rows in batch.policy_batches.values()]
        self._parts = max(1, round(sum(counts) / minibatch_size))

    def __len__(self) -> int:
        return self._num_epochs * self._parts

    def __iter__(self) -> Iterator[MultiAgentBatch]:
        generator = torch.Generator().manual_seed(self._seed)
        columns = {
            policy: {key: torch.as_tensor(column) for key, column in rows.items()}
            for policy, rows in self._batch.policy_batches.items()
        }
        for _ in range(self._num_epochs):
            orders = {
                policy: self._shuffled(len(rows), generator)
                for policy, rows in self._batch.policy_batches.items()
            }
            for part in range(self._parts):
                minibatch = {}
                # In one order for all learners, which add up a policy's gradients as they meet it:
                # in different ones they deadlock (ray-project/ray, issue 63819).
                for policy, order in sorted(orders.items()):
                    chosen = order[part % len(order)].to(
                        next(iter(columns[policy].values())).device
                    )
                    minibatch[policy] = SampleBatch(
                        {key: column[chosen] for key, column in columns[policy].items()}
                    )
                yield MultiAgentBatch(minibatch, self._batch.env_steps() // self._parts)

    def _shuffled(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        # A policy with fewer rows than there are parts is shown its own again.
        return torch.randperm(rows, generator=generator).tensor_split(min(self._parts, rows))


class DayLearner(TorchLearner):
    """Learner whose every update depends on weights, optimiser, batch and iteration alone.

    RLlib's forgets the schedules' places in a checkpoint; here they follow from the steps sampled.
    """

    def take_in(self, moments: Mapping[str, Mapping[str, Moments]]) -> None:
        """Let networks know what they see by now.

        Args:
            moments: of rows, by policy and by the column of a batch.
        """
        for policy, columns in moments.items():
            scores = self.module[policy].unwrapped().scores
            for column, found in columns.items():
                scores[column].take(found)

    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Put the learning rates where their schedules want them now."""
        super().before_gradient_based_update(timesteps=timesteps)
        now = timesteps[NUM_ENV_STEPS_SAMPLED_LIFETIME]
        for optimiser, schedule in self._optimizer_lr_schedules.items():
            self._set_optimizer_lr(optimiser, lr=schedule.update(timestep=now))

    def _create_iterator_if_necessary(
        self,
        *,
        training_data: Any,
        num_epochs: int = 1,
        minibatch_size: int | None = None,
        **_: Any,
    ) -> ProportionalMinibatches:
        batch = self._make_batch_if_necessary(training_data=training_data)
        size = minibatch_size or batch.agent_steps()
        return ProportionalMinibatches(batch, num_epochs, size, self._weights_seq_no)
