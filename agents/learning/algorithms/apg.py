"""Analytic policy gradients: the day's cost differentiated through a smoothed simulation.

What a little more of every action would bring comes from the simulation itself instead of from
trials (Heess et al. 2015, arXiv:1510.09142), in windows whose ends a critic values (Xu et al. 2022,
arXiv:2204.07137). An auction has no useful derivative in its prices, so that orders accept prices
gradually while learning, ever less so (Kohring, Pieroth, Bichler 2023, arXiv:2303.09500).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from gridbazaar.agents.config import Count
from gridbazaar.agents.learning.actor_critic import NetworkSettings, actor_critics
from gridbazaar.agents.learning.algorithm import ALGORITHMS, Algorithm, Workload
from gridbazaar.agents.learning.gradient_rollout import ACTION_GRADIENTS
from gridbazaar.agents.learning.rllib.gradient_runner import GradientRunner
from gridbazaar.agents.learning.rllib.learner import DayLearner
from gridbazaar.agents.learning.rllib.training import DayTrainingConfig
from gridbazaar.agents.learning.rollout import Trajectory
from gridbazaar.envs.config import NonNegative, Positive
from gridbazaar.envs.spaces import Spaces


class APGSettings(NetworkSettings):
    """Hyper-parameters."""

    name: Literal["apg"] = Field(description="apg: analytic policy gradients")
    lr: Positive = Field(
        description="learning rate of Adam at the start", json_schema_extra={"unit": "1"}
    )
    lr_end: NonNegative = Field(
        description="the same at total_agent_steps", json_schema_extra={"unit": "1"}
    )
    grad_clip: Positive = Field(
        description="global norm per group", json_schema_extra={"unit": "1"}
    )
    day_clip: Annotated[float, Field(ge=1)] | None = Field(
        None,
        description="most that a day's derivatives may be, times the median of the batch's days; "
        "null: whatever they are",
        json_schema_extra={"unit": "1"},
    )
    smoothing: Positive = Field(description="EUR/kWh over which prices are accepted, at the start")
    smoothing_end: Positive = Field(
        description="the same at smoothing_iterations", json_schema_extra={"unit": "EUR/kWh"}
    )
    smoothing_iterations: Count = Field(description="until smoothing_end is reached")
    window: Count = Field(description="intervals that a derivative reaches through")
    vf_loss_coeff: NonNegative = Field(
        description="weight of the critic's squared error", json_schema_extra={"unit": "1"}
    )

    @model_validator(mode="after")
    def _falls(self) -> APGSettings:
        self.check_falls("lr", "smoothing")
        return self


class APGLearner(DayLearner):
    """Follows how actions depend on weights; what actions bring was found in the rollout."""

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: Any, fwd_out: Any
    ) -> Tensor:
        """Return the loss of one minibatch of one policy."""
        settings: APGSettings = config.learner_config_dict["settings"]
        mean, _ = fwd_out[Columns.ACTION_DIST_INPUTS].chunk(2, -1)
        gained = (mean * batch[ACTION_GRADIENTS]).sum(-1).mean()
        if Postprocessing.VALUE_TARGETS not in batch:
            return -gained
        value = self.module[module_id].compute_values({Columns.OBS: batch[Columns.OBS]})
        error = (value - batch[Postprocessing.VALUE_TARGETS]).square().mean()
        self.metrics.log_value((module_id, "vf_loss"), error.detach(), reduce="mean")
        return settings.vf_loss_coeff * error - gained


@ALGORITHMS.register("apg")
class APG(Algorithm):
    """Analytic policy gradients, one policy and one critic per group of seats.

    They are the gradients of what all seats earn together: `reward.team_weight` makes no
    difference, for it moves money between seats alone.
    """

    Config = APGSettings
    runner = GradientRunner
    curves = {"vf_loss": "value_loss"}  # noqa: RUF012 - a constant, as declared

    def __init__(self, config: APGSettings):
        self._config = config
        self.window, self.day_clip = config.window, config.day_clip

    def training(self, workload: Workload) -> DayTrainingConfig:
        """Return what RLlib is told; see Algorithm."""
        a = self._config
        config = DayTrainingConfig().learners(learner_class=APGLearner)
        return config.training(
            lr=workload.schedule(a.lr, a.lr_end),
            grad_clip=a.grad_clip,
            grad_clip_by="global_norm",
            learner_config_dict={"settings": a},
        )

    def modules(self, spaces: Mapping[str, Spaces]) -> MultiRLModuleSpec:
        """Return actor and critic of each group; see Algorithm."""
        return actor_critics(spaces, self._config)

    def smoothing(self, iteration: int) -> float:
        """Return over how many EUR/kWh prices are accepted; it falls geometrically."""
        a = self._config
        share = min(iteration / a.smoothing_iterations, 1.0)
        return float(a.smoothing * (a.smoothing_end / a.smoothing) ** share)

    def act(self, module: Any, observation: Tensor, noise: Tensor) -> Tensor:
        """Return actions [B, seats, A] with noise [B, seats, A] around the policy's."""
        inputs = module.inputs(observation.flatten(0, 1)).unflatten(0, observation.shape[:2])
        mean, log_std = inputs.chunk(2, -1)
        return torch.addcmul(mean, log_std.exp() * module.learned, noise)

    def value(self, module: Any, observation: Tensor) -> Tensor:
        """Return what the critic foresees, [B, seats]."""
        values = module.compute_values({Columns.OBS: observation.flatten(0, 1)})
        return values.unflatten(0, observation.shape[:2])

    def process(self, module: Any, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return what actions brought, and what followed each; see Algorithm."""
        slopes = trajectory.remembered[ACTION_GRADIENTS]
        T, _, seats, _ = slopes.shape
        rows = {
            Columns.OBS: trajectory.observation.flatten(0, 2),
            # A loss is a mean over rows; it shall be that of whole days.
            ACTION_GRADIENTS: slopes.flatten(0, 2) * (T * seats),
        }
        if self.window >= T:
            return rows
        following = trajectory.reward.flip(0).cumsum(0).flip(0)
        return rows | {Postprocessing.VALUE_TARGETS: following.flatten()}
