"""A trained run as a bidder: the networks of each role, acting without exploration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchSquashedGaussian
from torch import Tensor
from torch.utils._pytree import tree_map

from gridbazaar.agents.learning import checkpoints
from gridbazaar.agents.learning.algorithm import Spaces, make, networks
from gridbazaar.envs.layout import STANDARD, Layout
from gridbazaar.errors import CheckpointError, UnknownNameError


class _State(NamedTuple):
    """Seats and recurrent state of each role."""

    seats: dict[str, Tensor]
    memory: dict[str, Any]


class LearnedBidder:
    """Acts without exploration; needs no running Ray.

    Args:
        modules: one network per role, on the device of the observations to come.
        layout: of the community.
    """

    def __init__(self, modules: Mapping[str, Any], layout: Layout = STANDARD):
        self._modules, self._layout = dict(modules), layout

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: torch.device | str = "cpu",
        layout: Layout = STANDARD,
    ) -> LearnedBidder:
        """Load a run's best checkpoint, or one checkpoint by its own folder.

        The algorithm's settings say which networks to build; weights alone are read into them.

        Raises:
            CheckpointError: nothing there can be loaded.
        """
        checkpoint = checkpoints.find(Path(folder))
        progress = checkpoints.read_progress(checkpoint, layout.size)
        weights = checkpoints.weights(checkpoint)
        try:
            algorithm = make(progress.algorithm)
            spaces = Spaces.of_sizes(layout, progress.state_size)
            modules = networks(algorithm, progress.roles, spaces)
            for role, module in modules.items():
                _fill(module, weights[role])
        except UnknownNameError as error:
            raise CheckpointError(
                f"{checkpoint} cannot be played: {error}; name the module of yours that brings it "
                "by --import"
            ) from None
        except Exception as error:  # networks of other sizes than the weights', say
            raise CheckpointError(
                f"{checkpoint} cannot be played ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}); its networks are not those that its "
                "algorithm builds now: use the version that trained it, or train again"
            ) from error
        return cls({role: module.to(device).eval() for role, module in modules.items()}, layout)

    @torch.no_grad()
    def act(self, observation: Tensor, state: _State | None = None) -> tuple[Tensor, _State]:
        """Return the action [B, N, A] within [-1, 1] for an observation [B, N, F].

        Args:
            observation: of all seats.
            state: None at the day's start, afterwards what the last call returned.

        Raises:
            ValueError: a seat has a role that was not trained.
        """
        seats, memory = state or _State(self._seats(observation), {})
        chosen, kept = {}, {}
        for role, mine in seats.items():
            seen = observation[:, mine].float()
            rows, kept[role] = act(self._modules[role], seen.flatten(0, 1), memory.get(role))
            chosen[role] = rows.unflatten(0, seen.shape[:2]).to(observation)
        entries = next(iter(chosen.values())).shape[-1]
        action = observation.new_zeros(*observation.shape[:2], entries)
        for role, mine in seats.items():
            action[:, mine] = chosen[role]
        return action, _State(seats, kept)

    def _seats(self, observation: Tensor) -> dict[str, Tensor]:
        """Return the seats of each role; they are the same in every market."""
        first, roles = observation[0], self._layout.roles
        seats = {r: self._layout.read(first, f"is_{r}").nonzero().squeeze(-1) for r in roles}
        seats = {role: mine for role, mine in seats.items() if len(mine)}
        unknown = seats.keys() - self._modules.keys()
        if unknown:
            raise ValueError(
                f"no network for role {', '.join(sorted(unknown))}; trained were "
                f"{', '.join(self._modules)}: train on a task that has these roles"
            )
        return seats


def _fill(module: Any, weights: Mapping[str, Tensor]) -> None:
    """Set a network's weights; raises ValueError unless they are those that it has."""
    if strange := sorted(module.get_state().keys() ^ weights.keys()):
        raise ValueError(f"{strange[0]!r} is in the file or in the network alone")
    module.set_state(weights)


def act(module: Any, observation: Tensor, memory: Any = None) -> tuple[Tensor, Any]:
    """Return what a policy does without exploring, by RLlib's convention.

    That is what `forward_inference` gives as actions, or else the mode of the distribution whose
    inputs it gives: the mean of a normal one, squashed where the distribution squashes.

    Args:
        module: any RLModule of torch; a stateful one sees one interval at a time.
        observation: [rows, F].
        memory: None at the day's start, afterwards what the last call returned.

    Returns:
        action [rows, A] within [-1, 1], and the state of a stateful module.
    """
    batch: dict[str, Any] = {Columns.OBS: observation}
    if stateful := module.is_stateful():
        batch = {Columns.OBS: observation.unsqueeze(1), Columns.STATE_IN: memory}
        if memory is None:
            batch[Columns.STATE_IN] = tree_map(
                lambda x: torch.as_tensor(x).to(observation).expand(len(observation), *x.shape),
                module.get_initial_state(),
            )
    out = module.forward_inference(batch)
    action = out.get(Columns.ACTIONS)
    if action is None:
        kind = module.get_inference_action_dist_cls()
        policy = kind.from_logits(out[Columns.ACTION_DIST_INPUTS])
        action = policy.to_deterministic().sample()
        if isinstance(policy, TorchSquashedGaussian):
            # RLlib leaves the squashing out here (ray-project/ray, issue 51544).
            action = torch.tanh(action)
    action = action.squeeze(1) if stateful else action
    return action.clamp(-1, 1), out.get(Columns.STATE_OUT)
