"""A trained run as a bidder: the networks of seats alike, acting without exploration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchSquashedGaussian
from torch import Tensor
from torch.utils._pytree import tree_map

from gridbazaar.agents.learning import checkpoints
from gridbazaar.agents.learning.algorithm import make, networks
from gridbazaar.agents.learning.roster import Others, roster
from gridbazaar.envs.game import Game
from gridbazaar.envs.seat_groups import SeatGroup
from gridbazaar.envs.spaces import unbounded_spaces
from gridbazaar.errors import CheckpointError, UnknownNameError

_OTHERS = "/"  # no group's name


class LearnedBidder:
    """Acts without exploration; needs no running Ray.

    Args:
        modules: one network per group of seats, on the device of the observations to come.
        groups: of the community.
        entries: of a padded action.
        others: who plays the seats that did not learn.
    """

    def __init__(
        self,
        modules: Mapping[str, Any],
        groups: Sequence[SeatGroup],
        entries: int,
        others: Others | None = None,
    ):
        self._modules, self._groups, self._entries = dict(modules), groups, entries
        self._others = others

    @classmethod
    def load(
        cls, folder: str | Path, game: Game, device: torch.device | str = "cpu"
    ) -> LearnedBidder:
        """Load a run's best checkpoint, or one checkpoint by its own folder.

        The algorithm's settings say which networks to build; weights alone are read into them.

        Args:
            folder: of the run or of the checkpoint.
            game: to be played, `simulation.game`.
            device: of the observations to come.

        Raises:
            CheckpointError: nothing there can be loaded, or it was trained for other seats.
        """
        checkpoint, layout = checkpoints.find(Path(folder)), game.layout
        progress = checkpoints.read_progress(checkpoint)
        who = roster(game, progress.sharing, progress.fixed)
        checkpoints.read_progress(checkpoint, checkpoints.policies_of(layout, who.groups))
        weights = checkpoints.weights(checkpoint)
        try:
            algorithm = make(progress.algorithm)
            modules = networks(algorithm, unbounded_spaces(game, progress.state_size, who.groups))
            for name, module in modules.items():
                _fill(module, weights[name])
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
        modules = {name: module.to(device).eval() for name, module in modules.items()}
        return cls(modules, who.groups, len(layout.actions), who.others(game, device))

    @torch.no_grad()
    def act(
        self, observation: Tensor, state: Mapping[str, Any] | None = None
    ) -> tuple[Tensor, Mapping[str, Any]]:
        """Return the action [B, N, A] within [-1, 1] for an observation [B, N, F].

        Entries that a seat has not are zero.

        Args:
            observation: of all seats.
            state: None at the day's start, afterwards what the last call returned.
        """
        memory, kept = state or {}, {}
        action = observation.new_zeros(*observation.shape[:2], self._entries)
        for group in self._groups:
            seen, name = group.see(observation).float(), group.name
            rows, kept[name] = act(self._modules[name], seen.flatten(0, 1), memory.get(name))
            chosen = rows.unflatten(0, seen.shape[:2]).to(observation)
            action[:, group.seats.unsqueeze(-1), group.acted] = chosen
        if self._others is not None:
            kept[_OTHERS] = self._others.play(observation, action, memory.get(_OTHERS))
        return action, kept


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
