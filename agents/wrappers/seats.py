"""Seats of a market that a library's policies play, beside those that a bidder plays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from gridbazaar.agents.load import load
from gridbazaar.envs.game import Game
from gridbazaar.envs.seat_groups import SeatGroup
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ArgumentError, UnknownNameError

ALL = "all"


def everybody(simulation: Simulation) -> SeatGroup:
    """Return all seats as one group, each with the entries of all."""
    layout, device = simulation.game.layout, simulation.community.pv_kwp.device
    sizes = (simulation.num_seats, layout.size, len(layout.actions))
    return SeatGroup(ALL, *(torch.arange(size, device=device) for size in sizes))


def group_of(simulation: Simulation, seats: str) -> SeatGroup:
    """Return a group of seats alike by its name, or everybody.

    Raises UnknownNameError, which gives the nearest.
    """
    if seats == ALL:
        return everybody(simulation)
    groups = {group.name: group for group in simulation.game.groups}
    if seats not in groups:
        raise UnknownNameError("group of seats", seats, [*groups, ALL])
    return groups[seats]


class JointAction:
    """Lays what the groups chose into the action of all seats.

    Args:
        game: that is played, `simulation.game`.
        groups: that choose.
        others: bidder that plays the seats of no group: a name, or a folder of a run.
        residual: whether a choice is added to that bidder's own action, so that zero plays as it
            does (residual policy learning).
    """

    def __init__(self, game: Game, groups: Iterable[SeatGroup], others: str, residual: bool):
        self._game, self._groups = game, tuple(groups)
        self._others, self._residual = others, residual
        chosen = {seat for group in self._groups for seat in group.seats.tolist()}
        needed = residual or len(chosen) < len(game.seats)
        self._rule = load(others, game, game.largest_kw.device) if needed else None

    def in_game(self, game: Game) -> JointAction:
        """Return the same for another game of the same seats, under other rules say.

        Raises ArgumentError where its seats are others.
        """
        mine, theirs = ((g.seats, g.layout.features, g.layout.actions) for g in (self._game, game))
        if mine != theirs:
            raise ArgumentError(
                f"the policy knows {len(self._game.seats)} seats of another community than "
                f"this game's {len(game.seats)}; play it on the task that it learned on"
            )
        return JointAction(game, self._groups, self._others, self._residual)

    def __call__(
        self, observation: Tensor, chosen: Mapping[str, Tensor], memory: Any
    ) -> tuple[Tensor, Any]:
        """Return the action of all seats [B, N, A] in [-1, 1], and the bidder's memory.

        Args:
            observation: [B, N, F] of all seats.
            chosen: [B, seats, A] of each group, by its name; beyond [-1, 1] counts as the bound.
            memory: of the bidder; None at a day's start.
        """
        if self._rule is None:
            entries = len(self._game.layout.actions)
            action = observation.new_zeros(*observation.shape[:2], entries)
        else:
            given, memory = self._rule.act(observation, memory)
            action = given.clone()
        for group in self._groups:
            where = (slice(None), group.seats.unsqueeze(-1), group.acted)
            choice = chosen[group.name].to(observation)
            action[where] = (choice + action[where] if self._residual else choice).clamp(-1, 1)
        return action, memory
