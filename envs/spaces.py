"""Spaces of seats alike, in which observations and actions lie."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from gridbazaar.envs.bounds import observation_bounds
from gridbazaar.envs.game import Game
from gridbazaar.envs.layout import ActionEntry, Layout
from gridbazaar.envs.observation import Feature
from gridbazaar.envs.seat_groups import SeatGroup
from gridbazaar.envs.simulation import Simulation

Array = NDArray[np.float32]


class Spaces(NamedTuple):
    """What the seats of a group see and do, and what a central critic sees of a market.

    Attributes:
        observation, action, state: boxes with finite bounds.
        layout: of the community, whose entries the group's are among.
        group: its seats, and which entries they have.
        game: as one of the group's seats knows it.
    """

    observation: gym.spaces.Box
    action: gym.spaces.Box
    state: gym.spaces.Box
    layout: Layout
    group: SeatGroup
    game: Game

    @property
    def features(self) -> tuple[Feature, ...]:
        """Name, unit, scale and meaning of each entry of the observation."""
        return tuple(self.layout.features[i] for i in self.group.observed.tolist())

    @property
    def action_entries(self) -> tuple[ActionEntry, ...]:
        """Name, unit and meaning of each entry of the action."""
        return tuple(self.layout.action_entries[i] for i in self.group.acted.tolist())


def spaces_of(
    simulation: Simulation, padded: bool = False, groups: Iterable[SeatGroup] | None = None
) -> dict[str, Spaces]:
    """Return the spaces of each group of a simulation's seats, by its name.

    Args:
        simulation: of one market or many.
        padded: whether every group shall have all entries of the community's layout.
        groups: of seats; the community's own where none are given.
    """
    c, layout = simulation.community, simulation.game.layout
    low, high = observation_bounds(c, simulation.rules, simulation.disclosure)
    everything = [torch.arange(size) for size in (layout.size, len(layout.actions))]
    state = _box(*(_state_of(simulation, ends) for ends in (low, high)))
    found = {}
    for group in c.groups if groups is None else groups:
        if padded:
            group = group._replace(observed=everything[0], acted=everything[1])
        seen = group.observed.cpu().numpy()
        found[group.name] = Spaces(
            observation=_box(low[seen], high[seen]),
            action=gym.spaces.Box(-1.0, 1.0, (len(group.acted),), np.float32),
            state=state,
            layout=layout,
            group=group,
            game=simulation.game.seen_by(group),
        )
    return found


def unbounded_spaces(
    game: Game, state: int, groups: Iterable[SeatGroup] | None = None
) -> dict[str, Spaces]:
    """Return the spaces of groups by name, where there are no data to bound them.

    Args:
        game: what everybody knows.
        state: entries of a market's global state.
        groups: of seats; the game's own where none are given.
    """

    def box(size: int) -> gym.spaces.Box:
        return gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    return {
        group.name: Spaces(
            observation=box(len(group.observed)),
            action=gym.spaces.Box(-1.0, 1.0, (len(group.acted),), np.float32),
            state=box(state),
            layout=game.layout,
            group=group,
            game=game.seen_by(group),
        )
        for group in (game.groups if groups is None else groups)
    }


def _state_of(simulation: Simulation, ends: Array) -> Array:
    """Return the entries of the global state where all seats see the same vector."""
    seen = torch.from_numpy(ends).expand(1, simulation.num_seats, -1)
    state: Array = simulation.global_state(seen)[0].numpy()
    return state


def _box(low: Array, high: Array) -> gym.spaces.Box:
    return gym.spaces.Box(low, high, dtype=np.float32)
