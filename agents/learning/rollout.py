"""Rollout of exploring policies: whole days of a batch of markets, time first, one row of tensors.

It knows no algorithm. Tensors are allocated once per call and filled in place; before and after an
interval are two views of the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gridbazaar.agents.learning.reward_shaping import given_bill
from gridbazaar.envs.simulation import Simulation


class Choice(NamedTuple):
    """What a policy does in one interval.

    Attributes:
        action: [B, seats, A]; beyond [-1, 1] counts as the bound.
        remembered: [B, seats, ...] each: what learning needs of this moment, log-probabilities say.
        memory: handed to the next choice of the same day, a recurrent state say.
    """

    action: Tensor
    remembered: Mapping[str, Tensor]
    memory: Any = None


# Role, observation [B, seats, F], standard normal noise [B, seats, A], memory -> choice.
Explore = Callable[[str, Tensor, Tensor, Any], Choice]


@dataclass(frozen=True)
class Trajectory:
    """T intervals of B markets as the seats of one role lived through them.

    Attributes:
        observation, next_observation: [T, B, seats, F] before and after each interval.
        action: [T, B, seats, A] as chosen.
        reward: [T, B, seats].
        done: [T, B] bool, true where the day ended: nothing follows whose value would count.
        remembered: [T, B, seats, ...] of each choice.
        state, next_state: [T, B, S] global state before and after; None unless asked for.
    """

    observation: Tensor
    next_observation: Tensor
    action: Tensor
    reward: Tensor
    done: Tensor
    remembered: Mapping[str, Tensor]
    state: Tensor | None
    next_state: Tensor | None


@dataclass(frozen=True)
class Rollout:
    """One day in every market.

    Attributes:
        parts: what the seats of each role saw and did.
        reward: [T, B, N] EUR as earned.
        given: [T, B, N] EUR of it that no action changes, see `given_bill`.
        done: [T, B] bool.
        state: [T + 1, B, S]; None unless asked for.
    """

    parts: Mapping[str, _Part]
    reward: Tensor
    given: Tensor
    done: Tensor
    state: Tensor | None

    def trajectory(self, role: str, reward: Tensor) -> Trajectory:
        """Return a role's part, with rewards [T, B, N] to learn from."""
        part, state = self.parts[role], self.state
        return Trajectory(
            observation=part.observation[:-1],
            next_observation=part.observation[1:],
            action=part.action,
            reward=reward[:, :, part.seats],
            done=self.done,
            remembered=part.remembered,
            state=None if state is None else state[:-1],
            next_state=None if state is None else state[1:],
        )


@torch.no_grad()
def play(
    sim: Simulation,
    seats: Mapping[str, Tensor],
    explore: Explore,
    actions: int,
    seed: int,
    global_state: bool = False,
) -> Rollout:
    """Play one day in every market.

    Args:
        sim: the markets.
        seats: numbers of the seats of each role; together all seats.
        explore: the policies.
        actions: A, entries of an action.
        seed: of the days and of the noise.
        global_state: whether to record the markets' global state.
    """
    observation = sim.reset(seed=seed)
    generator = torch.Generator(observation.device).manual_seed(seed)
    T, B, N = sim.slots, sim.num_envs, sim.num_seats
    parts = {role: _Part(observation, mine, T, actions) for role, mine in seats.items()}
    reward, given = observation.new_empty(2, T, B, N)
    action, noise = observation.new_empty(2, B, N, actions)
    state = None
    if global_state:
        state = observation.new_empty(T + 1, *sim.global_state().shape)
    for t in range(T):
        noise.normal_(generator=generator)
        if state is not None:
            state[t] = sim.global_state()
        for role, mine in seats.items():
            part = parts[role]
            choice = explore(role, part.see(t, observation), noise[:, mine], part.memory)
            part.keep(t, choice)
            action.index_copy_(1, mine, choice.action)
        interval = sim.step(action)
        reward[t] = interval.reward.total
        given[t] = given_bill(interval, sim.community.slot_h)
        observation = interval.observation
    for part in parts.values():
        part.see(T, observation)
    if state is not None:
        state[T] = sim.global_state()
    done = torch.zeros(T, 1, dtype=torch.bool, device=observation.device)
    done[-1] = True
    return Rollout(parts, reward, given, done.expand(T, B), state)


class _Part:
    """What the seats of one role see and do in a day of T intervals."""

    def __init__(self, first: Tensor, seats: Tensor, T: int, actions: int):
        size = (len(first), len(seats))
        self.seats = seats
        self.memory: Any = None
        self.observation = first.new_empty(T + 1, *size, first.shape[-1])
        self.action = first.new_empty(T, *size, actions)
        self.remembered: dict[str, Tensor] = {}

    def see(self, t: int, observation: Tensor) -> Tensor:
        """Take the role's rows [B, seats, F] of an observation."""
        return torch.index_select(observation, 1, self.seats, out=self.observation[t])

    def keep(self, t: int, choice: Choice) -> None:
        """Take what was chosen; what is remembered is known with the first choice."""
        self.memory, self.action[t] = choice.memory, choice.action
        for name, value in choice.remembered.items():
            if t == 0:
                self.remembered[name] = value.new_empty(len(self.action), *value.shape)
            self.remembered[name][t] = value
