"""Seats of many markets as one Gymnasium vector environment; a bidder plays the other seats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.agents.bidders import Bidder
from gridbazaar.agents.wrappers.seats import ALL, JointAction, group_of
from gridbazaar.envs.game import Game
from gridbazaar.envs.seat_groups import SeatGroup
from gridbazaar.envs.simulation import Simulation
from gridbazaar.envs.spaces import spaces_of
from gridbazaar.errors import ArgumentError, UnknownNameError

Array = NDArray[Any]
# What the chosen seats see [rows, F] -> what they do [rows, A].
SeatPolicy = Callable[[Array], Any]


class SeatVectorEnv(VectorEnv[Array, Array, Array]):
    """Each seat of a group in each market is one environment: B x S of them, market by market.

    They share one policy, see and do what the PettingZoo environment's agents of that group do,
    and earn their own rewards in EUR. A day ends for all of them together.

    Args:
        simulation: of B markets, `gridbazaar.batched(...)`.
        seats: name of a group of seats alike (`simulation.game.groups`), or `all`: every seat, each
            with the entries of all; what a seat has not is zero and has no effect.
        others: bidder that plays the other seats: a name, or a folder of a run.
        residual: whether an action is what is added to that bidder's own, so that zero plays as it
            does (residual policy learning).
        autoreset_mode: Gymnasium's: after a day's end the next step, or the same, begins a new day.

    Attributes:
        simulation: the markets.
        group: the seats, and which entries of a market's observation and action they have.
        features, action_entries: name, unit and meaning of each entry seen, and decided.

    Raises:
        UnknownNameError: no group or bidder is called so; gives the nearest.
    """

    def __init__(
        self,
        simulation: Simulation,
        seats: str = ALL,
        others: str = "truthful",
        residual: bool = False,
        autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP,
    ):
        self.simulation = simulation
        self.group = group_of(simulation, seats)
        spaces = spaces_of(simulation, padded=seats == ALL)
        own = next(iter(spaces.values())) if seats == ALL else spaces[seats]
        self.features, self.action_entries = own.features, own.action_entries
        self._join = JointAction(simulation.game, (self.group,), others, residual)
        self.num_envs = simulation.num_envs * len(self.group.seats)
        self.single_observation_space, self.single_action_space = own.observation, own.action
        self.observation_space = batch_space(own.observation, self.num_envs)
        self.action_space = batch_space(own.action, self.num_envs)
        self.metadata = {"autoreset_mode": autoreset_mode}
        self._same_step = autoreset_mode == AutoresetMode.SAME_STEP
        self._memory: Any = None
        self._over = False

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Start a day in every market.

        Args:
            seed: market b draws from seed + b; None goes on to the next day.
            options: `{"days": [first slots]}` plays chosen days, one for each market.

        Raises:
            UnknownNameError: for another option.
            ArgumentError: a seed or a day is none.
        """
        for name in options or {}:
            if name != "days":
                raise UnknownNameError("option of reset", str(name), ["days"])
        days = None if options is None else torch.as_tensor(options["days"])
        if isinstance(seed, Sequence):
            raise ArgumentError("seed is a list; give the first market's, others count on from it")
        return self._begin(self.simulation.reset(days, seed)), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Play one interval of all markets with actions [B x S, A] in [-1, 1].

        Raises:
            ArgumentError: the actions have another shape or hold what is no finite number.
        """
        if self._over:  # the step of a day's end, whose actions nobody plays
            observation, _ = self.reset()
            nothing = np.zeros(self.num_envs, dtype=bool)
            return observation, np.zeros(self.num_envs), nothing, nothing.copy(), {}
        given = self._checked(actions)
        rows = {self.group.name: _by_market(given, self.group)}
        action, self._memory = self._join(self._observation, rows, self._memory)
        interval = self.simulation.step(action)
        reward = interval.reward.total[:, self.group.seats].flatten().double().cpu().numpy()
        done = np.full(self.num_envs, interval.done)
        seen, infos = self._see(interval.observation), {}
        if interval.done and self._same_step:
            infos = {"final_obs": seen, "_final_obs": done.copy()}
            seen = self._begin(self.simulation.reset())
        self._over = interval.done and not self._same_step
        return seen, reward, done, np.zeros_like(done), infos

    def bidder(self, policy: SeatPolicy) -> Callable[[Game], Bidder]:
        """Return what builds the bidder of a policy that was learned here, others included.

        It plays the seats of this community, in any market, ledger and day; the game of another is
        refused by ArgumentError.

        Args:
            policy: what seats see [rows, F] -> what they do [rows, A]; keeps no memory.
        """
        return lambda game: _PolicyOfSeats(self.group, self._join.in_game(game), policy)

    def _begin(self, observation: Tensor) -> Array:
        self._memory, self._over = None, False
        return self._see(observation)

    def _see(self, observation: Tensor) -> Array:
        """Return what the seats see, [B x S, F], and keep what all see."""
        self._observation = observation
        return _rows(observation, self.group)

    def _checked(self, actions: Any) -> Tensor:
        try:
            given = np.asarray(actions, np.float32)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ArgumentError(f"the actions are no array: {error}") from None
        shape = self.action_space.shape
        if given.shape != shape:
            raise ArgumentError(f"the actions have shape {given.shape}, expected {shape}")
        if not np.isfinite(given).all():
            raise ArgumentError("the actions hold what is no finite number, expected [-1, 1]")
        return torch.from_numpy(given)


class _PolicyOfSeats:
    """Plays a policy's seats as the environment does in which it learned."""

    def __init__(self, group: SeatGroup, join: JointAction, policy: SeatPolicy):
        self._group, self._join, self._policy = group, join, policy

    def act(self, observation: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Decide one interval; see Bidder."""
        seen = _rows(observation, self._group)
        given = np.asarray(self._policy(seen), np.float32)
        if given.shape != (wanted := (len(seen), len(self._group.acted))):
            raise ArgumentError(
                f"the policy gives actions of shape {given.shape}, expected {wanted}"
            )
        rows = {self._group.name: _by_market(torch.from_numpy(given), self._group)}
        return self._join(observation, rows, state)


def _by_market(rows: Tensor, group: SeatGroup) -> Tensor:
    """Return rows [B x seats, A] as [B, seats, A]."""
    return rows.view(-1, len(group.seats), len(group.acted))


def _rows(observation: Tensor, group: SeatGroup) -> Array:
    """Return what a group's seats see, [B x seats, F]."""
    seen: Array = group.see(observation).flatten(0, 1).float().cpu().numpy()
    return seen
