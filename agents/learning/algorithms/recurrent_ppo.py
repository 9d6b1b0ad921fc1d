"""Recurrent PPO: policies and critics that remember their day, learned from whole days.

A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) beside the feed-forward layers keeps what
a seat has seen since the day began. A row of the train batch is a seat's day, so that nothing has
to be cut, padded or stored of the memory. Everything else is PPO's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from ray.rllib.algorithms.ppo.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from gridbazaar.agents.learning.actor_critic import (
    actor_critics,
    last_layer_small,
    layers,
)
from gridbazaar.agents.learning.algorithm import ALGORITHMS, Workload
from gridbazaar.agents.learning.algorithms.ppo import PPO, PPOSettings
from gridbazaar.agents.learning.correction import Correction, Width
from gridbazaar.agents.learning.rollout import Choice
from gridbazaar.envs.spaces import Spaces

_MEMORY = "h"  # of the actor; the critic learns from whole days alone


class RecurrentPPOSettings(PPOSettings):
    """Those of PPO, and the memory's size."""

    memory_size: Width = Field(description="entries that a network remembers of its day")


class Remembering(torch.nn.Module):
    """Layers, of whose last a recurrent unit keeps a memory; both lead to the output.

    Args:
        seen, outputs: entries.
        model: `fcnet_hiddens`, `fcnet_activation` and `memory_size`.
    """

    def __init__(self, seen: int, outputs: int, model: Mapping[str, Any]):
        super().__init__()
        hidden, self.memory_size = model["fcnet_hiddens"], model["memory_size"]
        self.body = torch.nn.Sequential(layers([seen, *hidden], model), torch.nn.Tanh())
        self.memory = torch.nn.GRU(hidden[-1], self.memory_size, batch_first=True)
        self.head = torch.nn.Linear(hidden[-1] + self.memory_size, outputs)

    def forward(self, seen: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return outputs [rows, T, outputs] and the memory after, [rows, memory_size].

        Args:
            seen: [rows, T, F].
            before: memory [rows, memory_size]; None at the day's start.
        """
        found = self.body(seen)
        kept, after = self.memory(found, None if before is None else before.unsqueeze(0))
        return self.head(torch.cat([found, kept], -1)), after.squeeze(0)


class RecurrentActorCritic(Correction, TorchRLModule, ValueFunctionAPI):
    """Networks that remember, for the mean action and the value; one deviation per action."""

    def setup(self) -> None:
        """Build the networks."""
        seen, entries = self.observation_space.shape[0], self.action_space.shape[0]
        self.set_up_correction(**self.sizes())
        self.actor = Remembering(seen, entries, self.model_config)
        self.critic = Remembering(seen, 1, self.model_config)
        last_layer_small(self.actor)
        self.log_std = torch.nn.Parameter(self._initial.clone())

    def get_initial_state(self) -> dict[str, Tensor]:
        """Return the memory of a day that begins."""
        return {_MEMORY: torch.zeros(self.model_config["memory_size"])}

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        obs = batch[Columns.OBS]
        before = batch.get(Columns.STATE_IN)
        seen = self.scores[Columns.OBS](obs)
        mean, after = self.actor(seen, None if before is None else before[_MEMORY])
        inputs = torch.cat([mean, self.log_std.expand_as(mean)], -1)
        return {
            Columns.ACTION_DIST_INPUTS: self.corrected(inputs, obs),
            Columns.STATE_OUT: {_MEMORY: after},
        }

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the critic's estimates [rows, T] of whole days [rows, T, F]."""
        value, _ = self.critic(self.scores[Columns.OBS](batch[Columns.OBS]), None)
        found: Tensor = value.squeeze(-1)
        return found


@ALGORITHMS.register("recurrent_ppo")
class RecurrentPPO(PPO):
    """PPO whose policies and critics remember what they saw since the day began."""

    Config = RecurrentPPOSettings
    # RLlib's explained variance is of rows without a time.
    curves = {k: v for k, v in PPO.curves.items() if k != "vf_explained_var"}  # noqa: RUF012
    _config: RecurrentPPOSettings

    def modules(self, spaces: Mapping[str, Spaces]) -> MultiRLModuleSpec:
        """Return actor and critic of each group; see Algorithm."""
        spec = actor_critics(
            spaces, self._config, RecurrentActorCritic, self._config.normalise_returns
        )
        for module in spec.rl_module_specs.values():
            module.model_config["memory_size"] = self._config.memory_size
        return spec

    def training(self, workload: Workload) -> PPOConfig:
        """Return what RLlib's PPO is told: a row is a day; see Algorithm."""
        days = max(1, self._config.minibatch_size // workload.slots)
        config = self._config.model_copy(update={"minibatch_size": days})
        in_days = replace(workload, agent_steps=workload.agent_steps // workload.slots)
        return PPO(config).training(in_days)

    def explore(self, module: Any, observation: Tensor, noise: Tensor, memory: Any) -> Choice:
        """Draw from a normal distribution; the memory is the actor's; see Algorithm."""
        batch: dict[str, Any] = {Columns.OBS: observation.flatten(0, 1).unsqueeze(1)}
        if memory is not None:
            batch[Columns.STATE_IN] = memory
        out = module.forward_exploration(batch)
        inputs = out[Columns.ACTION_DIST_INPUTS].squeeze(1).unflatten(0, observation.shape[:2])
        mean, log_std = inputs.chunk(2, -1)
        action = torch.addcmul(mean, log_std.exp() * module.learned, noise)
        return Choice(action, {Columns.ACTION_DIST_INPUTS: inputs}, out[Columns.STATE_OUT])

    def rows(self, values: Tensor) -> Tensor:
        """Return values [T, B, seats, ...] as rows, each a seat's day; see PPO."""
        return values.flatten(1, 2).transpose(0, 1)

    def time_first(self, rows: Tensor, like: Tensor) -> Tensor:
        """Return rows [B * seats, T] as [T, B, seats]; see PPO."""
        return rows.transpose(0, 1).view_as(like)
