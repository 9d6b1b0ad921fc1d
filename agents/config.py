"""The shape of a training configuration; the values live in YAML under configs/ alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gridbazaar.config import Config, Count, NonNegative, Positive, RunName, Share, Whole
from gridbazaar.envs.action import ACTIONS
from gridbazaar.envs.config import TaskConfig, WorldConfig

LogStd = Annotated[float, Field(ge=-5, le=1)]


class PPOSettings(Config):
    """Hyper-parameters of proximal policy optimisation, by RLlib's names."""

    name: Literal["ppo"]
    lr: Positive = Field(description="learning rate of Adam at the start")
    lr_end: NonNegative = Field(description="the same at total_agent_steps")
    gamma: Share = Field(description="discount per interval")
    lambda_: Share = Field(description="of generalised advantage estimation")
    num_epochs: Count = Field(description="passes over each iteration's batch")
    minibatch_size: Count = Field(description="agent steps of all roles together")
    clip_param: Positive = Field(description="bound of the policy ratio")
    grad_clip: Positive = Field(description="global norm per role")
    vf_loss_coeff: NonNegative
    vf_clip_param: Positive = Field(description="bound of the critic's squared error")
    entropy_coeff: NonNegative = Field(description="weight of the entropy at the start")
    entropy_coeff_end: NonNegative = Field(description="the same at total_agent_steps")
    kl_coeff: NonNegative = Field(description="first weight of the divergence from the old policy")
    kl_target: Positive = Field(description="divergence towards which kl_coeff is adapted")
    fcnet_hiddens: Annotated[list[Count], Field(min_length=1)]
    fcnet_activation: Literal["tanh", "relu", "silu"]
    initial_log_std: Annotated[list[LogStd], Field(min_length=ACTIONS, max_length=ACTIONS)] = Field(
        description="of the limit price, the flexible power and the priority fee"
    )
    prior: str = Field(description="action that the policy corrects, see agents/learning/prior.py")
    reward_scale: Positive = Field(description="learning units per EUR")
    team_weight: Share = Field(description="0: own reward; 1: the community's mean")


class RayConfig(Config):
    """Where RLlib's actors run."""

    address: str | None = Field(description="of a running cluster; null starts one here")
    num_cpus: Count | None = Field(description="of the cluster started here; null: all")


class TrainConfig(Config):
    """Everything `train.py` is told."""

    name: RunName
    folder: str = Field(description="where runs are written")
    resume: bool
    seed: Whole
    device: Annotated[str, Field(pattern=r"^(cpu|cuda)$")]
    num_envs: Count = Field(description="parallel markets of one env runner")
    num_env_runners: Whole
    num_learners: Whole
    total_agent_steps: Count
    validate_every: Count = Field(description="iterations")
    checkpoint_every: Count = Field(description="iterations")
    keep_checkpoints: Count = Field(description="newest checkpoints kept besides the best")
    ray: RayConfig
    task: TaskConfig
    market: dict[str, Any] = Field(description="name and parameters of a registered market")
    ledger: dict[str, Any] = Field(description="name and parameters of a registered ledger")
    algorithm: PPOSettings

    @model_validator(mode="after")
    def _schedules_fall(self) -> TrainConfig:
        a = self.algorithm
        for key in ("lr", "entropy_coeff"):
            start, end = getattr(a, key), getattr(a, f"{key}_end")
            if end > start:
                raise ValueError(
                    f"algorithm.{key}_end {end} must not exceed algorithm.{key} {start}"
                )
        return self

    @property
    def world(self) -> WorldConfig:
        """Return the task under its market and ledger."""
        return WorldConfig(task=self.task, market=self.market, ledger=self.ledger)
