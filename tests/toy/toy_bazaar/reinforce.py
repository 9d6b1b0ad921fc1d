"""The policy gradient with the return of the rest of the day (Williams 1992)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from gridbazaar.agents.learning.actor_critic import NetworkSettings, actor_critics, draw
from gridbazaar.agents.learning.algorithm import ALGORITHMS, Algorithm, Workload
from gridbazaar.agents.learning.rllib.learner import DayLearner
from gridbazaar.agents.learning.rllib.training import DayTrainingConfig
from gridbazaar.agents.learning.rollout import Choice, Trajectory
from gridbazaar.config import Positive
from gridbazaar.envs.spaces import Spaces


class ToyReinforceSettings(NetworkSettings):
    """Hyper-parameters."""

    name: Literal["toy_reinforce"]
    lr: Positive


class ToyReinforceLearner(DayLearner):
    """Gradient of the log-likelihood, weighted by what followed."""

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: Any, fwd_out: Any
    ) -> Tensor:
        """Return the loss of one minibatch of one policy."""
        kind = self.module[module_id].get_train_action_dist_cls()
        policy = kind.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS])
        return -(policy.logp(batch[Columns.ACTIONS]) * batch[Postprocessing.ADVANTAGES]).mean()


@ALGORITHMS.register("toy_reinforce")
class ToyReinforce(Algorithm):
    """REINFORCE by another name."""

    Config = ToyReinforceSettings

    def __init__(self, config: ToyReinforceSettings):
        self._config = config

    def training(self, workload: Workload) -> DayTrainingConfig:
        """Return what RLlib is told."""
        config = DayTrainingConfig().learners(learner_class=ToyReinforceLearner)
        return config.training(lr=self._config.lr)

    def modules(self, spaces: Mapping[str, Spaces]) -> MultiRLModuleSpec:
        """Return a policy for each group of seats."""
        return actor_critics(spaces, self._config)

    def explore(self, module: Any, observation: Tensor, noise: Tensor, memory: None) -> Choice:
        """Draw from the policy."""
        action, _ = draw(module, observation, noise)
        return Choice(action, {})

    def process(self, module: Any, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return what followed each action, less the mean at that time of day."""
        following = trajectory.reward.flip(0).cumsum(0).flip(0)
        return {
            Columns.OBS: trajectory.observation.flatten(0, 2),
            Columns.ACTIONS: trajectory.action.flatten(0, 2),
            Postprocessing.ADVANTAGES: (following - following.mean((1, 2), True)).flatten(),
        }
