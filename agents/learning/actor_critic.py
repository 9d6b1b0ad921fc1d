"""Actor and critic of seats alike: RLlib's default networks that correct a simple controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from torch import Tensor

from gridbazaar.agents.learning.correction import RETURNS, Correction, NetworkSettings
from gridbazaar.envs.spaces import Spaces

__all__ = [
    "RETURNS",
    "ActorCritic",
    "NetworkSettings",
    "actor_critics",
    "draw",
    "last_layer_small",
    "layers",
]

# First actions near the middle of their range for every observation (Andrychowicz et al.,
# arXiv:2006.05990, advise a last policy layer 100 times smaller).
_LAST_LAYER_SCALE = 0.01
_ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "silu": torch.nn.SiLU}


class ActorCritic(Correction, DefaultPPOTorchRLModule):
    """Separate tanh networks for the mean action and the value; one standard deviation per action.

    `model_config` says what is corrected, see `Correction`.
    """

    def setup(self) -> None:
        """Build the networks through RLlib's catalog and scale the policy's start."""
        super().setup()
        self.set_up_correction(**self.sizes())
        last_layer_small(self.pi)
        with torch.no_grad():
            self.pi.log_std.copy_(self._initial)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        # Who acts asks no critic; RLlib's encoder would run the critic's layers too.
        actor: Any = getattr(self.encoder, "actor_encoder", self.encoder)
        found = actor(self.standard(batch))[ENCODER_OUT]
        return self._corrected({Columns.ACTION_DIST_INPUTS: self.pi(found)}, batch)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._corrected(super()._forward_train(self.standard(batch), **kwargs), batch)

    def inputs(self, observation: Tensor) -> Tensor:
        """Return mean and logarithm of the deviation [rows, 2 A], with gradients."""
        out: Tensor = self._forward({Columns.OBS: observation})[Columns.ACTION_DIST_INPUTS]
        return out

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the critic's estimates [rows] of observations, or of what it made of them."""
        return super().compute_values(self.standard(batch), embeddings)

    def standard(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch with what the networks see as they see it."""
        seen = {name: score(batch[name]) for name, score in self.scores.items() if name != RETURNS}
        return {**batch, **seen}

    def _corrected(self, out: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
        """Add the network's mean to the prior's action, in the entries that matter."""
        inputs = self.corrected(out[Columns.ACTION_DIST_INPUTS], batch[Columns.OBS])
        return {**out, Columns.ACTION_DIST_INPUTS: inputs}


def layers(sizes: Sequence[int], model: Mapping[str, Any]) -> torch.nn.Sequential:
    """Return a network of linear layers with the activation that `model` names between them."""
    between = _ACTIVATIONS[model["fcnet_activation"]]
    parts: list[torch.nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [torch.nn.Linear(before, after), between()]
    return torch.nn.Sequential(*parts[:-1])


def last_layer_small(network: torch.nn.Module) -> None:
    """Scale a policy's last layer down, so that it corrects next to nothing at first."""
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        layers[-1].weight.mul_(_LAST_LAYER_SCALE)
        layers[-1].bias.zero_()


def draw(module: Any, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Draw actions from the normal distributions that a module gives.

    Args:
        module: an ActorCritic.
        observation: [B, seats, F].
        noise: [B, seats, A] of a standard normal.

    Returns:
        action [B, seats, A], and mean and logarithm of the standard deviation [B, seats, 2 * A].
    """
    out = module.forward_exploration({Columns.OBS: observation.flatten(0, 1)})
    inputs = out[Columns.ACTION_DIST_INPUTS].unflatten(0, observation.shape[:2])
    mean, log_std = inputs.chunk(2, -1)
    return torch.addcmul(mean, log_std.exp() * module.learned, noise), inputs


def actor_critics(
    spaces: Mapping[str, Spaces],
    settings: NetworkSettings,
    kind: type[Any] = ActorCritic,
    normalise_returns: bool = False,
) -> MultiRLModuleSpec:
    """Return one module per group of seats, all of one architecture.

    Args:
        spaces: of the groups.
        settings: of the networks.
        kind: of the modules: an ActorCritic, or another that is a Correction.
        normalise_returns: whether critics give standard scores of the returns.
    """
    model = DefaultModelConfig(
        fcnet_hiddens=settings.fcnet_hiddens,
        fcnet_activation=settings.fcnet_activation,
        vf_share_layers=False,
        free_log_std=True,
    )
    return MultiRLModuleSpec(
        rl_module_specs={
            name: RLModuleSpec(
                module_class=kind,
                observation_space=group.observation,
                action_space=group.action,
                model_config={
                    **asdict(model),
                    **settings.correction_of(group),
                    "normalise_returns": normalise_returns,
                },
            )
            for name, group in spaces.items()
        }
    )
