"""Multi-agent PPO: a critic that sees the whole market trains actors that see their own seat.

Yu et al. 2022, NeurIPS, arXiv:2103.01955: of the inputs compared there, the critic has the seat's
own observation beside the global state. Everything else is PPO's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from torch import Tensor

from gridbazaar.agents.learning.actor_critic import ActorCritic, actor_critics, layers
from gridbazaar.agents.learning.algorithm import ALGORITHMS
from gridbazaar.agents.learning.algorithms.ppo import PPO
from gridbazaar.agents.learning.rollout import Trajectory
from gridbazaar.envs.spaces import Spaces

STATE = "global_state"  # column of the markets' global state


class CentralCritic(ActorCritic):
    """PPO's actor, and a critic of the seat's observation and its market's global state."""

    def setup(self) -> None:
        """Build the actor through RLlib's catalog, and the critic."""
        self.catalog.actor_critic_encoder_config.inference_only = True  # no critic of its own
        super().setup()
        del self.vf
        seen = sum(self.sizes()[name] for name in _SEEN)
        self.critic = layers([seen, *self.model_config["fcnet_hiddens"], 1], self.model_config)

    def sizes(self) -> dict[str, int]:
        """Return the entries of what has standard scores; see ActorCritic."""
        return {**super().sizes(), STATE: self.model_config["spaces"].state.shape[0]}

    def standard(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch as the networks see it; those who act are told no global state."""
        told = batch if STATE in batch else {**batch, STATE: self.scores[STATE].mean}
        return super().standard(told)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward(batch, **kwargs)

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the critic's estimates [rows]."""
        standard = self.standard(batch)
        value: Tensor = self.critic(torch.cat([standard[name] for name in _SEEN], -1)).squeeze(-1)
        return value


_SEEN = (Columns.OBS, STATE)


@ALGORITHMS.register("mappo")
class MAPPO(PPO):
    """PPO whose critics see the whole market while its policies see their own seat."""

    global_state = True

    def modules(self, spaces: Mapping[str, Spaces]) -> MultiRLModuleSpec:
        """Return actor and central critic of each group; see Algorithm."""
        return actor_critics(spaces, self._config, CentralCritic, self._config.normalise_returns)

    def seen(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return what the networks see; see PPO."""
        assert trajectory.state is not None
        state = trajectory.state.unsqueeze(2)
        seats = trajectory.observation.shape[2]
        return {**super().seen(trajectory), STATE: state.expand(-1, -1, seats, -1)}
