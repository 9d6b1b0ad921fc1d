"""Actor and critic of seats alike: RLlib's default networks that correct a simple controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from torch import Tensor

from gridbazaar.agents.learning.algorithm import AlgorithmSettings
from gridbazaar.agents.learning.prior import PRIORS, relevant
from gridbazaar.config import Config
from gridbazaar.envs.spaces import Spaces

LogStd = Annotated[float, Field(ge=-5, le=1)] | None
Width = Annotated[int, Field(ge=1, le=16_384)]  # neurons of a hidden layer
# First actions near the middle of their range for every observation (Andrychowicz et al.,
# arXiv:2006.05990, advise a last policy layer 100 times smaller).
_LAST_LAYER_SCALE = 0.01
_OWNED = ("efficiency", "wear_price", "largest_kw")  # tensors of a game, which move with a network
_LEAST_DEVIATION = 1e-4  # below it an entry never changes
_FURTHEST = 5.0  # deviations from the mean that a network sees


class InitialLogStd(Config):
    """Logarithm of each entry's standard deviation at the start; actions live in [-1, 1].

    Without one the entry is not learned: it stays what the prior says.
    """

    must_run_price: LogStd
    correction: LogStd
    device_value: LogStd
    device_margin: LogStd
    device_share: LogStd
    priority_fee: LogStd

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if all(value is None for value in self.__dict__.values()):
            raise ValueError(
                "every entry is null, so that nothing would be learned; give one a number, "
                "as device_value: -1.6"
            )
        return self

    def of(self, spaces: Spaces) -> list[float | None]:
        """Return those of a group's entries, the same for each of its devices."""
        devices = [self.device_value, self.device_margin, self.device_share] * spaces.layout.slots
        all_entries = [self.must_run_price, self.correction, *devices, self.priority_fee]
        return [all_entries[i] for i in spaces.group.acted.tolist()]


class NetworkSettings(AlgorithmSettings):
    """What the networks are, for any algorithm that uses them."""

    fcnet_hiddens: Annotated[list[Width], Field(min_length=1)]
    fcnet_activation: Literal["tanh", "relu", "silu"]
    initial_log_std: InitialLogStd = Field(description="of each entry of an action")
    prior: str = Field(description="action that the policy corrects, see agents/learning/prior.py")


class ActorCritic(DefaultPPOTorchRLModule):
    """Separate tanh networks for the mean action and the value; one standard deviation per action.

    `model_config["initial_log_std"]` is the logarithm of the standard deviation at the start, and
    `model_config["prior"]` names the action that the mean network corrects;
    `model_config["spaces"]` says what observations and actions mean.
    """

    def setup(self) -> None:
        """Build the networks through RLlib's catalog and scale the policy's start."""
        super().setup()
        given, spaces = self.model_config["initial_log_std"], self.model_config["spaces"]
        initial = torch.tensor([0.0 if one is None else one for one in given])
        learned = torch.tensor([one is not None for one in given])
        self.register_buffer("_initial", initial, persistent=False)
        self.register_buffer("learned", learned, persistent=False)
        size = self.observation_space.shape[0]
        self.register_buffer("observed_mean", torch.zeros(size))
        self.register_buffer("observed_deviation", torch.ones(size))
        self.register_buffer("begun", torch.zeros(1))
        layers = [layer for layer in self.pi.modules() if isinstance(layer, torch.nn.Linear)]
        with torch.no_grad():
            layers[-1].weight.mul_(_LAST_LAYER_SCALE)
            layers[-1].bias.zero_()
            self.pi.log_std.copy_(self._initial)
        self._prior, self._game = PRIORS[self.model_config["prior"]], spaces.game
        for name in ("observed", "acted"):
            entries = getattr(spaces.group, name).cpu()
            self.register_buffer(f"_{name}", entries, persistent=False)
        for name in _OWNED:
            self.register_buffer(name, getattr(spaces.game, name).float().cpu(), persistent=False)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._corrected(super()._forward(self._standard(batch), **kwargs), batch)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        if not self.begun:
            self._begin(batch[Columns.OBS])
        return self._corrected(super()._forward_train(self._standard(batch), **kwargs), batch)

    def inputs(self, observation: Tensor) -> Tensor:
        """Return mean and logarithm of the deviation [rows, 2 A], with gradients."""
        out: Tensor = self._forward({Columns.OBS: observation})[Columns.ACTION_DIST_INPUTS]
        return out

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the critic's estimates [rows] of observations, or of what it made of them."""
        return super().compute_values(self._standard(batch), embeddings)

    @torch.no_grad()
    def _begin(self, obs: Tensor) -> None:
        """Take mean and deviation of what is seen from the first rows learned from, for good."""
        deviation = obs.std(0, correction=0)
        self.observed_mean.copy_(obs.mean(0))
        self.observed_deviation.copy_(torch.where(deviation > _LEAST_DEVIATION, deviation, 1.0))
        self.begun.fill_(1)

    def _standard(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch with observations as the networks see them."""
        seen = (batch[Columns.OBS] - self.observed_mean) / self.observed_deviation
        return {**batch, Columns.OBS: seen.clamp(-_FURTHEST, _FURTHEST)}

    def _corrected(self, out: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
        """Add the network's mean to the prior's action, in the entries that matter."""
        mean, log_std = out[Columns.ACTION_DIST_INPUTS].chunk(2, -1)
        obs = batch[Columns.OBS]
        # As it stands in the vector of every seat, where the prior finds it by name.
        blank = obs.new_zeros(*obs.shape[:-1], self._game.layout.size)
        seen = blank.index_copy(-1, self._observed, obs)
        matters = relevant(seen, self._game.layout, self._game.rules.dispatch == "own")
        matters = matters.index_select(-1, self._acted) & self.learned
        game = replace(self._game, **{name: getattr(self, name) for name in _OWNED})
        with torch.no_grad():  # its steps have no gradient worth following
            prior = self._prior(seen.unsqueeze(-2), game).squeeze(-2)
        prior = prior.index_select(-1, self._acted)
        mean = torch.where(matters, mean + prior, prior)
        log_std = torch.where(matters, log_std, self._initial)
        return {**out, Columns.ACTION_DIST_INPUTS: torch.cat([mean, log_std], -1)}


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


def actor_critics(spaces: Mapping[str, Spaces], settings: NetworkSettings) -> MultiRLModuleSpec:
    """Return one module per group of seats, all of one architecture; `spaces` are the groups'."""
    model = DefaultModelConfig(
        fcnet_hiddens=settings.fcnet_hiddens,
        fcnet_activation=settings.fcnet_activation,
        vf_share_layers=False,
        free_log_std=True,
    )
    return MultiRLModuleSpec(
        rl_module_specs={
            name: RLModuleSpec(
                module_class=ActorCritic,
                observation_space=group.observation,
                action_space=group.action,
                model_config=asdict(model)
                | {
                    "initial_log_std": settings.initial_log_std.of(group),
                    "prior": settings.prior,
                    "spaces": group,
                },
            )
            for name, group in spaces.items()
        }
    )
