"""Proximal policy optimisation: settings, advantages, and what RLlib's loss is told.

Schulman et al., arXiv:1707.06347; advantages: Schulman et al., arXiv:1506.02438. The clipped loss
itself is RLlib's, `ray.rllib.algorithms.ppo.torch.ppo_torch_learner`; the networks are those of
`gridbazaar.agents.learning.actor_critic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from ray.rllib.algorithms.ppo.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from torch import Tensor

from gridbazaar.agents.config import Count
from gridbazaar.agents.learning.actor_critic import RETURNS, NetworkSettings, actor_critics, draw
from gridbazaar.agents.learning.algorithm import ALGORITHMS, Algorithm, Workload
from gridbazaar.agents.learning.rllib.learner import DayLearner
from gridbazaar.agents.learning.rllib.training import DayTraining
from gridbazaar.agents.learning.rollout import Choice, Trajectory
from gridbazaar.envs.config import NonNegative, Positive, Share
from gridbazaar.envs.spaces import Spaces

_KL_COEFFICIENTS = "kl_coefficients"


class PPOSettings(NetworkSettings):
    """Hyper-parameters by RLlib's names."""

    lr: Positive = Field(
        description="learning rate of Adam at the start", json_schema_extra={"unit": "1"}
    )
    lr_end: NonNegative = Field(
        description="the same at total_agent_steps", json_schema_extra={"unit": "1"}
    )
    gamma: Share = Field(description="discount per interval")
    lambda_: Share = Field(description="of generalised advantage estimation")
    num_epochs: Count = Field(description="passes over each iteration's batch")
    minibatch_size: Count = Field(description="agent steps of all groups together")
    clip_param: Positive = Field(
        description="bound of the policy ratio", json_schema_extra={"unit": "1"}
    )
    grad_clip: Positive = Field(
        description="global norm per group", json_schema_extra={"unit": "1"}
    )
    vf_loss_coeff: NonNegative = Field(
        description="weight of the critic's squared error",
        json_schema_extra={"unit": "1"},
    )
    vf_clip_param: Positive = Field(
        description="bound of the critic's squared error", json_schema_extra={"unit": "1"}
    )
    normalise_returns: bool = Field(
        description="whether critics learn standard scores of the returns, all so far"
    )
    entropy_coeff: NonNegative = Field(
        description="weight of the entropy at the start", json_schema_extra={"unit": "1"}
    )
    entropy_coeff_end: NonNegative = Field(
        description="the same at total_agent_steps", json_schema_extra={"unit": "1"}
    )
    kl_coeff: NonNegative = Field(
        description="first weight of the divergence from the old policy",
        json_schema_extra={"unit": "1"},
    )
    kl_target: Positive = Field(
        description="divergence towards which kl_coeff is adapted", json_schema_extra={"unit": "1"}
    )

    @model_validator(mode="after")
    def _schedules_fall(self) -> PPOSettings:
        self.check_falls("lr", "entropy_coeff")
        return self


@ALGORITHMS.register("ppo")
class PPO(Algorithm):
    """Proximal policy optimisation, one policy and one critic per group of seats."""

    Config: ClassVar[type[PPOSettings]] = PPOSettings
    curves = {  # noqa: RUF012 - a constant, as declared
        "policy_loss": "policy_loss",
        "vf_loss": "value_loss",
        "vf_explained_var": "value_explained_variance",
        "entropy": "entropy",
        "mean_kl_loss": "kl",
        "curr_kl_coeff": "kl_coefficient",
        "curr_entropy_coeff": "entropy_coefficient",
    }

    def __init__(self, config: PPOSettings):
        self._config = config

    def modules(self, spaces: Mapping[str, Spaces]) -> MultiRLModuleSpec:
        """Return actor and critic of each group; see Algorithm."""
        return actor_critics(spaces, self._config, normalise_returns=self._config.normalise_returns)

    def explore(self, module: Any, observation: Tensor, noise: Tensor, memory: None) -> Choice:
        """Draw from a normal distribution and remember it; see Algorithm."""
        action, inputs = draw(module, observation, noise)
        return Choice(action, {Columns.ACTION_DIST_INPUTS: inputs})

    def process(self, module: Any, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return log-probabilities, advantages and value targets; see Algorithm."""
        if not module.learned.any():
            # Nobody learns from these seats: RLlib's learner wants some rows of every policy.
            trajectory = trajectory.of_one_market()
        seen = {name: self.rows(values) for name, values in self.seen(trajectory).items()}
        inputs = self.rows(trajectory.remembered[Columns.ACTION_DIST_INPUTS])
        action = self.rows(trajectory.action)
        policy = module.get_exploration_action_dist_cls().from_logits(inputs)
        value = self.time_first(module.compute_values(seen), trajectory.reward)
        if RETURNS in module.scores:
            value = module.scores[RETURNS].meant(value)
        found = advantages(trajectory.reward, value, self._config.gamma, self._config.lambda_)
        advantage, target = map(self.rows, found)
        return {
            **seen,
            Columns.ACTION_DIST_INPUTS: inputs,
            Columns.ACTIONS: action,
            Columns.ACTION_LOGP: policy.logp(action),
            Postprocessing.ADVANTAGES: advantage,
            Postprocessing.VALUE_TARGETS: target,
            **({RETURNS: target.unsqueeze(-1)} if RETURNS in module.scores else {}),
        }

    def seen(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return what the networks see, [T, B, seats, ...] by the column of the train batch."""
        return {Columns.OBS: trajectory.observation}

    def rows(self, values: Tensor) -> Tensor:
        """Return values [T, B, seats, ...] as rows of the train batch, one per agent step."""
        return values.flatten(0, 2)

    def time_first(self, rows: Tensor, like: Tensor) -> Tensor:
        """Return rows [...] of the train batch as [T, B, seats] like others."""
        return rows.view_as(like)

    def prepare(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Standardise a group's advantages over all runners; see Algorithm."""
        advantage = standardise(rows[Postprocessing.ADVANTAGES])
        return {**rows, Postprocessing.ADVANTAGES: advantage}

    def training(self, workload: Workload) -> PPOConfig:
        """Return what RLlib's PPO is told; see Algorithm."""
        a, learners = self._config, workload.learners
        return (
            PPOConfig(algo_class=DayTraining)
            .learners(learner_class=PPOLearner)
            .training(
                lr=workload.schedule(a.lr, a.lr_end),
                gamma=a.gamma,
                lambda_=a.lambda_,
                minibatch_size=max(1, min(a.minibatch_size, workload.agent_steps) // learners),
                num_epochs=a.num_epochs,
                clip_param=a.clip_param,
                grad_clip=a.grad_clip,
                grad_clip_by="global_norm",
                vf_loss_coeff=a.vf_loss_coeff,
                vf_clip_param=a.vf_clip_param,
                entropy_coeff=workload.schedule(a.entropy_coeff, a.entropy_coeff_end),
                use_kl_loss=True,
                kl_coeff=a.kl_coeff,
                kl_target=a.kl_target,
            )
        )


def advantages(
    reward: Tensor, value: Tensor, gamma: float, lambda_: float
) -> tuple[Tensor, Tensor]:
    """Estimate advantages and value targets (generalised advantage estimation, eq. 16).

    The day's end is a true end: the energy left in storage is paid for in the last reward, so
    nothing follows that a bootstrapped value would have to stand for.

    Args:
        reward: [T, ...] of a whole day.
        value: [T, ...] the critic's estimate before each interval.
        gamma: discount per interval.
        lambda_: 0 trusts the critic, 1 the day as it went.

    Returns:
        advantage and value target, [T, ...] each.
    """
    advantage = torch.empty_like(reward)
    following, running = torch.zeros_like(reward[0]), torch.zeros_like(reward[0])
    for t in range(len(reward) - 1, -1, -1):
        surprise = reward[t] + gamma * following - value[t]
        running = surprise + gamma * lambda_ * running
        advantage[t], following = running, value[t]
    return advantage, advantage + value


def standardise(advantage: Tensor) -> Tensor:
    """Return the advantages with mean 0 and standard deviation 1; all zero where they are equal."""
    deviation = advantage.std(correction=0)
    return (advantage - advantage.mean()) / deviation.clamp(min=1e-6)


class PPOLearner(DayLearner, PPOTorchLearner):
    """RLlib's loss, with schedules and divergence weights that survive a checkpoint."""

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: Any, fwd_out: Any
    ) -> Tensor:
        """Return RLlib's loss of one minibatch, of the returns' scores where these are learned."""
        scores = self.module[module_id].unwrapped().scores
        if RETURNS in scores:
            target = batch[Postprocessing.VALUE_TARGETS].unsqueeze(-1)
            batch = {**batch, Postprocessing.VALUE_TARGETS: scores[RETURNS](target).squeeze(-1)}
        loss: Tensor = super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
        return loss

    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Put the entropy's weight where its schedule wants it now."""
        super().before_gradient_based_update(timesteps=timesteps)
        now = timesteps[NUM_ENV_STEPS_SAMPLED_LIFETIME]
        for name in self.module.keys():  # noqa: SIM118 - a module, not a dict
            self.entropy_coeff_schedulers_per_module[name].update(timestep=now)

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return RLlib's state and the divergence weights, which RLlib leaves out."""
        coefficients = {name: float(c) for name, c in self.curr_kl_coeffs_per_module.items()}
        return {**super().get_state(*args, **kwargs), _KL_COEFFICIENTS: coefficients}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take a state that `get_state` gave."""
        super().set_state(state)
        for name, coefficient in state.get(_KL_COEFFICIENTS, {}).items():
            self.curr_kl_coeffs_per_module[name].fill_(coefficient)
