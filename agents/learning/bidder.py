"""A trained run as a bidder: mean actions of the networks of each role."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_LEARNER_GROUP, COMPONENT_RL_MODULE
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from torch import Tensor

from gridbazaar.agents.learning import checkpoints
from gridbazaar.envs.action import ACTIONS
from gridbazaar.envs.observation import ROLES, read
from gridbazaar.errors import CheckpointError


class LearnedBidder:
    """Acts without exploration; needs no running Ray.

    Args:
        modules: one network per role, on the device of the observations to come.
    """

    def __init__(self, modules: Mapping[str, Any]):
        self._modules = dict(modules)

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> LearnedBidder:
        """Load a run's best checkpoint, or one checkpoint by its own folder.

        Raises:
            CheckpointError: nothing there can be loaded.
        """
        checkpoint = checkpoints.find(Path(folder))
        progress = checkpoints.read_progress(checkpoint)
        parts = (COMPONENT_LEARNER_GROUP, COMPONENT_LEARNER, COMPONENT_RL_MODULE)
        weights = checkpoint.joinpath(*parts).resolve()
        try:
            modules = {role: RLModule.from_checkpoint(weights / role) for role in progress.roles}
        except Exception as error:  # a damaged pickle can raise anything
            raise CheckpointError(
                f"cannot read the networks in {weights} ({type(error).__name__}: {error}); "
                "choose another checkpoint of the run, or train it again"
            ) from error
        return cls({role: module.to(device).eval() for role, module in modules.items()})

    @torch.no_grad()
    def act(self, observation: Tensor, state: Any | None = None) -> tuple[Tensor, Any]:
        """Return the action [B, N, 3] within [-1, 1] for an observation [B, N, SIZE].

        Args:
            observation: of all seats.
            state: None at the day's start, afterwards what the last call returned.

        Raises:
            ValueError: a seat has a role that was not trained.
        """
        seats = self._seats(observation) if state is None else state
        action = observation.new_zeros(*observation.shape[:2], ACTIONS)
        for role, mine in seats.items():
            seen = observation[:, mine].float()
            out = self._modules[role].forward_inference({Columns.OBS: seen.flatten(0, 1)})
            mean = out[Columns.ACTION_DIST_INPUTS][:, :ACTIONS]
            action[:, mine] = mean.unflatten(0, seen.shape[:2]).clamp(-1, 1).to(action)
        return action, seats

    def _seats(self, observation: Tensor) -> dict[str, Tensor]:
        """Return the seats of each role; they are the same in every market."""
        first = observation[0]
        seats = {r: read(first, f"is_{r}").nonzero().squeeze(-1) for r in ROLES}
        seats = {role: mine for role, mine in seats.items() if len(mine)}
        unknown = seats.keys() - self._modules.keys()
        if unknown:
            raise ValueError(
                f"no network for role {', '.join(sorted(unknown))}; trained were "
                f"{', '.join(self._modules)}: train on a task that has these roles"
            )
        return seats
