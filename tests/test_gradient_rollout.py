"""Gradients of a day through a smoothed market, against central differences and by learning."""

from __future__ import annotations

import pytest
import torch

from gridbazaar import envs
from gridbazaar.agents.learning.gradient_rollout import ACTION_GRADIENTS, differentiate, tame
from gridbazaar.agents.learning.rollout import day_noise

F64 = torch.float64


@pytest.fixture(scope="module")
def sim():
    world = envs.batched(task="small", num_envs=2, dtype=F64)
    world.smoothing = 0.02
    return world


def middling(sim):
    """Actions away from the bounds, with some feedback on what is seen."""
    entries = {group.name: group for group in sim.game.groups}

    def act(name, observation, noise):
        acted = entries[name].acted
        level = torch.linspace(-0.3, 0.3, len(sim.game.layout.actions), dtype=F64)[acted]
        return level + 0.05 * torch.tanh(observation.sum(-1, keepdim=True)) + 0.01 * noise

    return act


def nothing(_, observation):
    return observation.sum(-1) * 0


@torch.no_grad()
def earned(sim, act, slot, wanted, by):
    """What all seats of each market earn on the day, one group's action nudged in one slot."""
    observation, draw, total = sim.reset(seed=7), day_noise(sim, 7), 0
    for t in range(sim.slots):
        noise, action = draw(), observation.new_zeros(2, sim.num_seats, 6)
        for group in sim.game.groups:
            chosen = act(
                group.name, group.see(observation), noise[:, group.seats][..., group.acted]
            )
            if t == slot and group.name == wanted:
                chosen = chosen + by
            action[:, group.seats.unsqueeze(-1), group.acted] = chosen
        interval = sim.step(action)
        observation, total = interval.observation, total + interval.reward.total.sum(-1)
    return total


def test_a_slope_is_what_a_nudge_brings_through_the_rest_of_the_day(sim):
    act = middling(sim)
    rollout = differentiate(sim, act, nothing, 7, sim.slots, 1.0)
    agree = []
    g = torch.Generator().manual_seed(0)
    for name, part in rollout.parts.items():
        slopes = part.remembered[ACTION_GRADIENTS]
        for slot in (10, 40, 70):
            along = torch.randn(slopes.shape[1:], generator=g, dtype=F64)
            step = 1e-5
            up, down = (earned(sim, act, slot, name, k * step * along) for k in (1, -1))
            measured = (up - down) / (2 * step)
            found = (slopes[slot] * along).sum((-1, -2))
            agree.append(torch.isclose(found, measured, rtol=0.05, atol=1e-3))
    # Where a limit begins to bind within a step, the two may differ.
    assert torch.stack(agree).double().mean() > 0.85


def test_a_window_ends_what_a_derivative_reaches_and_the_critic_goes_on_from_there(sim):
    act = middling(sim)
    short = differentiate(sim, act, nothing, 7, 24, 1.0)
    valued = differentiate(sim, act, lambda _, seen: 3.0 * seen.sum(-1), 7, 24, 1.0)
    torch.testing.assert_close(short.reward, valued.reward)
    name = next(iter(short.parts))
    plain, with_critic = (r.parts[name].remembered[ACTION_GRADIENTS] for r in (short, valued))
    assert (plain[:72] - with_critic[:72]).abs().max() > 1e-6
    torch.testing.assert_close(plain[72:], with_critic[72:])  # nothing follows the day


def test_the_same_seed_differentiates_the_same_day(sim):
    act = middling(sim)
    first, second = (differentiate(sim, act, nothing, 11, 48, 2.0) for _ in range(2))
    for name, part in first.parts.items():
        again = second.parts[name].remembered[ACTION_GRADIENTS]
        torch.testing.assert_close(part.remembered[ACTION_GRADIENTS], again, rtol=0, atol=0)


def test_a_day_that_explodes_weighs_no_more_than_a_few_others():
    world = envs.batched(task="small", num_envs=5, dtype=F64)
    world.smoothing = 0.02
    rollout = differentiate(world, middling(world), nothing, 3, world.slots, 1.0)
    slopes = {name: part.remembered[ACTION_GRADIENTS] for name, part in rollout.parts.items()}
    for each in slopes.values():
        each[:, 2] *= 1e6
    before = {name: each.clone() for name, each in slopes.items()}
    tame(rollout, 2.0)

    def size(of):
        return torch.stack([each.square().sum((0, 2, 3)) for each in of.values()]).sum(0).sqrt()

    limit = 2 * size(before).median()
    assert size(slopes)[2] == pytest.approx(float(limit))
    assert (size(slopes) <= limit * (1 + 1e-9)).all()
    for name, each in slopes.items():  # shrunk in all groups alike, and the others left alone
        share = (limit / size(before)).clamp(max=1).view(-1, 1, 1)
        torch.testing.assert_close(each, before[name] * share)
    assert (size(before) < limit).sum() >= 2


def test_days_without_a_slope_stay_without():
    world = envs.batched(task="small", num_envs=3, dtype=F64)
    rollout = differentiate(world, middling(world), nothing, 3, world.slots, 0.0)
    tame(rollout, 2.0)
    assert all((part.remembered[ACTION_GRADIENTS] == 0).all() for part in rollout.parts.values())
