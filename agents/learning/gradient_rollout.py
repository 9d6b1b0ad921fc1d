"""Rollout that differentiates: what a little more of every action would bring, by the simulation.

Heess et al. (NeurIPS 2015, arXiv:1510.09142) call these value gradients; Xu et al. (ICLR 2022,
arXiv:2204.07137) cut the time into windows and let a critic value what follows each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from gridbazaar.agents.learning.reward_shaping import given_bill
from gridbazaar.agents.learning.rollout import Choice, Part, Rollout, day_noise
from gridbazaar.agents.learning.roster import Others
from gridbazaar.envs.seat_groups import SeatGroup
from gridbazaar.envs.simulation import Simulation
from gridbazaar.rows import detached

ACTION_GRADIENTS = "action_gradients"

# Group, observation [B, seats, F], noise [B, seats, A] -> action [B, seats, A].
Act = Callable[[str, Tensor, Tensor], Tensor]
# Group, observation [B, seats, F] -> what follows, [B, seats] in learning units.
Value = Callable[[str, Tensor], Tensor]


def differentiate(
    sim: Simulation,
    act: Act,
    value: Value,
    seed: int,
    window: int,
    scale: float,
    groups: Iterable[SeatGroup] | None = None,
    others: Others | None = None,
) -> Rollout:
    """Play one day in every market, and differentiate what all its seats earn together.

    What is remembered of each action [T, B, seats, A] is the derivative of the rest of its market's
    window with respect to it, in learning units: what later actions make of it is included.

    Args:
        sim: the markets; prices have a gradient only where acceptance is smoothed.
        act: the policies, differentiable in what they see.
        value: the critics, likewise.
        seed: of the days and of the noise.
        window: intervals that a derivative reaches through; a critic values what follows.
        scale: learning units per EUR.
        groups: of seats that learn; all of the game's where none are given.
        others: who plays the seats of no group; what they would make of a nudge is left out.
    """
    observation = sim.reset(seed=seed)
    draw = day_noise(sim, seed)
    T, B, N, A = sim.slots, sim.num_envs, sim.num_seats, len(sim.game.layout.actions)
    groups = sim.game.groups if groups is None else groups
    parts = {group.name: Part(observation, group, T, A) for group in groups}
    nudges: dict[str, list[Tensor]] = {name: [] for name in parts}
    slopes: dict[str, list[Tensor]] = {name: [] for name in parts}
    reward, given = observation.new_empty(2, T, B, N)
    earned, memory = observation.new_zeros(()), None
    for t in range(T):
        noise, action = draw().flatten(1), observation.new_zeros(B, N * A)
        if others is not None:
            memory = others.play(observation.detach(), action.view(B, N, A), memory)
        for name, part in parts.items():
            part.see(t, observation.detach())
            chosen = act(name, part.group.see(observation), part.of_actions(noise))
            nudge = torch.zeros_like(chosen, requires_grad=True)
            nudges[name].append(nudge)
            part.keep(t, Choice(chosen.detach(), {}))
            action = part.laid(chosen + nudge, action)
        interval = sim.step(action.view(B, N, A))
        observation, gained = interval.observation, interval.reward.total
        reward[t] = gained.detach()
        given[t] = given_bill(interval, sim.community.slot_h).detach()
        earned = earned + gained.sum() * scale
        over = t + 1 == T
        if over or (t + 1) % window == 0:
            if not over:
                earned = earned + _following(value, parts, observation)
            _differentiate(earned, nudges, slopes)
            earned = observation.new_zeros(())
        if not over and (t + 1) % window == 0:
            sim.state = detached(sim.state)
            observation = sim.observe()
    for name, part in parts.items():
        part.see(T, observation.detach())
        part.remembered[ACTION_GRADIENTS] = torch.stack(slopes[name])
    done = torch.zeros(T, 1, dtype=torch.bool, device=observation.device)
    done[-1] = True
    return Rollout(parts, reward, given, done.expand(T, B), None)


def tame(rollout: Rollout, day_clip: float) -> None:
    """Make the derivatives of markets smaller whose day multiplied a nudge beyond all others.

    A long day sometimes does so a thousandfold (Metz et al. 2021, arXiv:2111.05803), and a mean
    over markets would be that day's alone.

    Args:
        rollout: of `differentiate`.
        day_clip: times the median over the markets that the norm of a market's derivatives, of
            all groups together, may have.
    """
    slopes = [part.remembered[ACTION_GRADIENTS] for part in rollout.parts.values()]
    size = torch.stack([each.square().sum((0, 2, 3)) for each in slopes]).sum(0).sqrt()
    most = day_clip * size.median()
    share = (most / size.clamp(min=torch.finfo(size.dtype).tiny)).clamp(max=1)
    for each in slopes:
        each *= share.view(-1, 1, 1)


def _following(value: Value, parts: Mapping[str, Part], observation: Tensor) -> Tensor:
    """Return what the critics say will follow, all seats of all markets together."""
    each = [value(name, part.group.see(observation)).sum() for name, part in parts.items()]
    return torch.stack(each).sum()


def _differentiate(
    earned: Tensor, nudges: dict[str, list[Tensor]], slopes: dict[str, list[Tensor]]
) -> None:
    """Move a window's derivatives with respect to the nudges into the slopes."""
    asked = [nudge for each in nudges.values() for nudge in each]
    found = iter(torch.autograd.grad(earned, asked))
    for name, each in nudges.items():
        slopes[name] += [next(found) for _ in each]
        each.clear()
