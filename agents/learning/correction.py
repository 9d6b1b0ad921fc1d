"""Correction of a simple controller: what any policy network here sees, and what it may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from ray.rllib.core.columns import Columns
from torch import Tensor

from gridbazaar.agents.learning.algorithm import AlgorithmSettings
from gridbazaar.agents.learning.prior import PRIORS, relevant
from gridbazaar.agents.learning.standard_scores import StandardScores
from gridbazaar.config import Config
from gridbazaar.envs.spaces import Spaces

LogStd = Annotated[float, Field(ge=-5, le=1)] | None
Width = Annotated[int, Field(ge=1, le=16_384)]  # neurons of a hidden layer
RETURNS = "returns"  # column of what critics estimate, where its scores are learned
_OWNED = ("efficiency", "wear_price", "largest_kw")  # tensors of a game, which move with a network


class InitialLogStd(Config):
    """Logarithm of each entry's standard deviation at the start; actions live in [-1, 1].

    Without one the entry is not learned: it stays what the prior says.
    """

    must_run_price: LogStd = Field(
        description="of the must-run net's price; null: not learned, the prior's",
        json_schema_extra={"unit": "1"},
    )
    correction: LogStd = Field(
        description="of the forecast's correction; null likewise",
        json_schema_extra={"unit": "1"},
    )
    device_value: LogStd = Field(
        description="of what a device's content is worth; null likewise",
        json_schema_extra={"unit": "1"},
    )
    device_margin: LogStd = Field(
        description="of the margin asked beyond it; null likewise",
        json_schema_extra={"unit": "1"},
    )
    device_share: LogStd = Field(
        description="of the share of its power that is offered; null likewise",
        json_schema_extra={"unit": "1"},
    )
    priority_fee: LogStd = Field(
        description="of the tip; null likewise",
        json_schema_extra={"unit": "1"},
    )

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

    fcnet_hiddens: Annotated[list[Width], Field(min_length=1)] = Field(
        description="neurons of each hidden layer",
    )
    fcnet_activation: Literal["tanh", "relu", "silu"] = Field(description="of the hidden layers")
    initial_log_std: InitialLogStd = Field(description="of each entry of an action")
    prior: str = Field(description="action that the policy corrects, see agents/learning/prior.py")

    def correction_of(self, spaces: Spaces) -> dict[str, Any]:
        """Return what a module's `model_config` must hold for `Correction`."""
        return {
            "initial_log_std": self.initial_log_std.of(spaces),
            "prior": self.prior,
            "spaces": spaces,
        }


class Correction:
    """Part of an RLModule of torch that corrects what a simple controller does.

    `model_config["initial_log_std"]` is the logarithm of the standard deviation at the start, and
    `model_config["prior"]` names the action that is corrected; `model_config["spaces"]` says what
    observations and actions mean. Call `set_up_correction` in `setup`.

    Attributes:
        learned: bool [A], which entries of an action are learned at all.
        scores: of what the networks see, by the column of a batch.
    """

    model_config: Any
    observation_space: Any
    register_buffer: Any
    learned: Tensor
    efficiency: Tensor
    largest_kw: Tensor
    _initial: Tensor
    _observed: Tensor
    _acted: Tensor

    def sizes(self) -> dict[str, int]:
        """Return the entries of what has standard scores, by the column of a batch."""
        seen = {Columns.OBS: self.observation_space.shape[0]}
        return seen | ({RETURNS: 1} if self.model_config["normalise_returns"] else {})

    def set_up_correction(self, **seen: int) -> None:
        """Register what belongs to the correction.

        Args:
            seen: entries of what the networks see, by the column of a batch.
        """
        given, spaces = self.model_config["initial_log_std"], self.model_config["spaces"]
        initial = torch.tensor([0.0 if one is None else one for one in given])
        learned = torch.tensor([one is not None for one in given])
        self.register_buffer("_initial", initial, persistent=False)
        self.register_buffer("learned", learned, persistent=False)
        self.scores = torch.nn.ModuleDict({name: StandardScores(n) for name, n in seen.items()})
        self._prior, self._game = PRIORS[self.model_config["prior"]], spaces.game
        for name in ("observed", "acted"):
            entries = getattr(spaces.group, name).cpu()
            self.register_buffer(f"_{name}", entries, persistent=False)
        for name in _OWNED:
            self.register_buffer(name, getattr(spaces.game, name).float().cpu(), persistent=False)

    @torch.no_grad()
    def priors(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the action [..., A] to correct for [..., F], and which entries to learn, bool.

        Entries that can change nothing now have nothing to learn. A rule's steps have no gradient
        worth following.
        """
        if obs.dim() > 2:
            prior, matters = self.priors(obs.flatten(0, -2))
            return prior.unflatten(0, obs.shape[:-1]), matters.unflatten(0, obs.shape[:-1])
        # As it stands in the vector of every seat, where the prior finds it by name.
        blank = obs.new_zeros(*obs.shape[:-1], self._game.layout.size)
        seen = blank.index_copy(-1, self._observed, obs)
        matters = relevant(seen, self._game.layout, self._game.rules.dispatch == "own")
        matters = matters.index_select(-1, self._acted) & self.learned
        owned = {name: getattr(self, name) for name in _OWNED}
        if len(self.efficiency) > 1:  # seats of several roles share the policy
            layout = self._game.layout
            role = torch.stack([layout.read(seen, f"is_{role}") for role in layout.roles], -1)
            owned = {name: (role @ tensor).unsqueeze(-2) for name, tensor in owned.items()}
            owned["largest_kw"] = role @ self.largest_kw.unsqueeze(-1)
        prior = self._prior(seen.unsqueeze(-2), replace(self._game, **owned)).squeeze(-2)
        return prior.index_select(-1, self._acted), matters

    def corrected(self, inputs: Tensor, obs: Tensor) -> Tensor:
        """Return mean and log-deviation [..., 2 A] where the mean's network gave a correction."""
        mean, log_std = inputs.chunk(2, -1)
        prior, matters = self.priors(obs)
        mean = torch.where(matters, mean + prior, prior)
        log_std = torch.where(matters, log_std, self._initial)
        return torch.cat([mean, log_std], -1)
