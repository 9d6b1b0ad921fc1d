"""RLlib's env runner for gradients through the simulation: what more of every action brings."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gridbazaar.agents.learning.gradient_rollout import differentiate, tame
from gridbazaar.agents.learning.rllib.env_runner import DayRunner
from gridbazaar.agents.learning.rollout import Rollout


class GradientRunner(DayRunner):
    """Plays one day in each of `num_envs` smoothed markets, and differentiates it.

    The algorithm says how widely acceptance is smoothed in an iteration (`smoothing`), how far a
    derivative reaches (`window`), how much one day may weigh (`day_clip`), and what a policy does
    and a critic foresees (`act`, `value`).
    """

    algorithm: Any

    def _play(self, iteration: int, seed: int) -> Rollout:
        sim, algorithm = self.simulation, self.algorithm
        sim.smoothing = algorithm.smoothing(iteration)
        for _, module in self.module.items():
            module.requires_grad_(False)  # the learner follows how actions depend on weights

        def act(group: str, observation: Tensor, noise: Tensor) -> Tensor:
            return algorithm.act(self.module[group], observation, noise)

        def value(group: str, observation: Tensor) -> Tensor:
            return algorithm.value(self.module[group], observation)

        rollout = differentiate(
            sim,
            act,
            value,
            seed,
            algorithm.window,
            self.settings.reward.scale,
            [each.group for each in self.spaces.values()],
            self._others,
        )
        if algorithm.day_clip is not None:
            tame(rollout, algorithm.day_clip)
        return rollout
