"""Rollout of exploring policies: whole days of a batch of markets, time first, one row of tensors.

It knows no algorithm. Tensors are allocated once per call and filled in place; before and after an
interval are two views of the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gridbazaar.agents.learning.reward_shaping import given_bill
from gridbazaar.agents.learning.roster import Others
from gridbazaar.envs.seat_groups import SeatGroup
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


# Group, observation [B, seats, F], standard normal noise [B, seats, A], memory -> choice.
Explore = Callable[[str, Tensor, Tensor, Any], Choice]


@dataclass(frozen=True)
class Trajectory:
    """T intervals of B markets as the seats of one group lived through them.

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

    def of_one_market(self) -> Trajectory:
        """Return the first market's part."""
        return Trajectory(
            **{field.name: _first_market(getattr(self, field.name)) for field in fields(self)}
        )


@dataclass(frozen=True)
class Rollout:
    """One day in every market.

    Attributes:
        parts: what the seats of each group saw and did.
        reward: [T, B, N] EUR as earned.
        given: [T, B, N] EUR of it that no action changes, see `given_bill`.
        done: [T, B] bool.
        state: [T + 1, B, S]; None unless asked for.
    """

    parts: Mapping[str, Part]
    reward: Tensor
    given: Tensor
    done: Tensor
    state: Tensor | None

    def trajectory(self, group: str, reward: Tensor) -> Trajectory:
        """Return a group's part, with rewards [T, B, N] to learn from."""
        part, state = self.parts[group], self.state
        return Trajectory(
            observation=part.observation[:-1],
            next_observation=part.observation[1:],
            action=part.action,
            reward=reward[:, :, part.group.seats],
            done=self.done,
            remembered=part.remembered,
            state=None if state is None else state[:-1],
            next_state=None if state is None else state[1:],
        )


@torch.no_grad()
def play(
    sim: Simulation,
    explore: Explore,
    seed: int,
    global_state: bool = False,
    groups: Iterable[SeatGroup] | None = None,
    others: Others | None = None,
) -> Rollout:
    """Play one day in every market.

    Args:
        sim: the markets.
        explore: the policies of the groups of seats.
        seed: of the days and of the noise.
        global_state: whether to record the markets' global state.
        groups: of seats that explore; all of the game's where none are given.
        others: who plays the seats of no group.
    """
    observation = sim.reset(seed=seed)
    draw = day_noise(sim, seed)
    T, B, N, A = sim.slots, sim.num_envs, sim.num_seats, len(sim.game.layout.actions)
    groups = sim.game.groups if groups is None else groups
    parts = {group.name: Part(observation, group, T, A) for group in groups}
    reward, given = observation.new_empty(2, T, B, N)
    # What a seat has not stays zero.
    action = observation.new_zeros(B, N * A)
    state = memory = None
    if global_state:
        state = observation.new_empty(T + 1, *sim.global_state().shape)
    for t in range(T):
        noise = draw().flatten(1)
        if state is not None:
            state[t] = sim.global_state()
        for name, part in parts.items():
            choice = explore(name, part.see(t, observation), part.of_actions(noise), part.memory)
            part.keep(t, choice)
            part.act(choice.action, action)
        if others is not None:
            memory = others.play(observation, action.view(B, N, A), memory)
        interval = sim.step(action.view(B, N, A))
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


def day_noise(sim: Simulation, seed: int) -> Callable[[], Tensor]:
    """Return what draws each interval's standard normal noise, [B, N, A] in the same tensor."""
    device, dtype = sim.community.pv_kwp.device, sim.community.pv_kwp.dtype
    generator = torch.Generator(device).manual_seed(seed)
    shape = (sim.num_envs, sim.num_seats, len(sim.game.layout.actions))
    noise = torch.empty(shape, device=device, dtype=dtype)
    return lambda: noise.normal_(generator=generator)


class Part:
    """What the seats of one group see and do in a day of T intervals.

    Args:
        first: observation [B, N, F] of all seats.
        group: of seats.
        T: intervals.
        actions: A, entries of the padded action.
    """

    def __init__(self, first: Tensor, group: SeatGroup, T: int, actions: int):
        size = (len(first), len(group.seats))
        self.group = group
        self.memory: Any = None
        self.observation = first.new_empty(T + 1, *size, len(group.observed))
        self.action = first.new_empty(T, *size, len(group.acted))
        self.remembered: dict[str, Tensor] = {}
        seats = group.seats.unsqueeze(-1)
        self._seen = (seats * first.shape[-1] + group.observed).flatten()
        self._done = (seats * actions + group.acted).flatten()

    def see(self, t: int, observation: Tensor) -> Tensor:
        """Take what the group's seats see, [B, seats, F], of an observation."""
        seen = self.observation[t]
        torch.index_select(observation.flatten(1), 1, self._seen, out=seen.view(len(seen), -1))
        return seen

    def of_actions(self, values: Tensor) -> Tensor:
        """Return the group's [B, seats, A] of what stands for every entry of all actions."""
        return values.index_select(1, self._done).view_as(self.action[0])

    def act(self, choice: Tensor, action: Tensor) -> None:
        """Lay what was chosen into the action of all seats."""
        action.index_copy_(1, self._done, choice.flatten(1))

    def laid(self, choice: Tensor, action: Tensor) -> Tensor:
        """Return the action of all seats with what was chosen, for gradients to pass."""
        return action.index_copy(1, self._done, choice.flatten(1))

    def keep(self, t: int, choice: Choice) -> None:
        """Take what was chosen; what is remembered is known with the first choice."""
        self.memory, self.action[t] = choice.memory, choice.action
        for name, value in choice.remembered.items():
            if t == 0:
                self.remembered[name] = value.new_empty(len(self.action), *value.shape)
            self.remembered[name][t] = value


def _first_market(values: Any) -> Any:
    """Return the first market's part of [T, B, ...], or of each such in a mapping."""
    if isinstance(values, Mapping):
        return {name: value[:, :1] for name, value in values.items()}
    return None if values is None else values[:, :1]
