"""The network of one role: RLlib's default actor and critic, started near-deterministic."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from gridbazaar.agents.config import PPOSettings
from gridbazaar.agents.learning.prior import PRIORS, relevant
from gridbazaar.envs.action import ACTIONS
from gridbazaar.envs.observation import SIZE

OBSERVATION_SPACE = gym.spaces.Box(-np.inf, np.inf, (SIZE,), np.float32)
ACTION_SPACE = gym.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)
# First actions near the middle of their range for every observation (Andrychowicz et al.,
# arXiv:2006.05990, advise a last policy layer 100 times smaller).
_LAST_LAYER_SCALE = 0.01
# RLlib 2.60 warns of its own use of RLModuleConfig whenever any module is built.
logging.getLogger("ray._common.deprecation").addFilter(
    lambda record: "RLModuleConfig object" not in record.getMessage()
)


class RoleModule(DefaultPPOTorchRLModule):
    """Separate tanh networks for the mean action and the value; one standard deviation per action.

    `model_config["initial_log_std"]` is the logarithm of the standard deviation at the start, and
    `model_config["prior"]` names the action that the mean network corrects.
    """

    def setup(self) -> None:
        """Build the networks through RLlib's catalog and scale the policy's start."""
        super().setup()
        layers = [layer for layer in self.pi.modules() if isinstance(layer, torch.nn.Linear)]
        with torch.no_grad():
            layers[-1].weight.mul_(_LAST_LAYER_SCALE)
            layers[-1].bias.zero_()
            self.pi.log_std.copy_(torch.tensor(self.model_config["initial_log_std"]))
        self._prior = PRIORS[self.model_config["prior"]]

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._corrected(super()._forward(batch, **kwargs), batch)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._corrected(super()._forward_train(batch, **kwargs), batch)

    def _corrected(self, out: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
        """Add the network's mean to the prior's action, in the entries that matter."""
        mean, log_std = out[Columns.ACTION_DIST_INPUTS].chunk(2, -1)
        matters, prior = relevant(batch[Columns.OBS]), self._prior(batch[Columns.OBS])
        mean = torch.where(matters, mean + prior, prior)
        idle = torch.tensor(self.model_config["initial_log_std"], device=mean.device)
        log_std = torch.where(matters, log_std, idle)
        return {**out, Columns.ACTION_DIST_INPUTS: torch.cat([mean, log_std], -1)}


def role_specs(roles: Sequence[str], settings: PPOSettings) -> MultiRLModuleSpec:
    """Return one module per role, all of one architecture."""
    model = DefaultModelConfig(
        fcnet_hiddens=settings.fcnet_hiddens,
        fcnet_activation=settings.fcnet_activation,
        vf_share_layers=False,
        free_log_std=True,
    )
    return MultiRLModuleSpec(
        rl_module_specs={
            role: RLModuleSpec(
                module_class=RoleModule,
                observation_space=OBSERVATION_SPACE,
                action_space=ACTION_SPACE,
                model_config=asdict(model)
                | {"initial_log_std": settings.initial_log_std, "prior": settings.prior},
            )
            for role in roles
        }
    )
