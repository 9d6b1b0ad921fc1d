"""Networks of the algorithms: what each sees, and densities against independent oracles."""

from __future__ import annotations

import pytest
import torch
from ray.rllib.core.columns import Columns
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from gridbazaar import envs
from gridbazaar.agents.learning.algorithm import make, networks
from gridbazaar.agents.learning.algorithms.mappo import STATE
from gridbazaar.agents.learning.bidder import act
from gridbazaar.agents.learning.standard_scores import Moments, StandardScores
from gridbazaar.configs import compose
from gridbazaar.envs.spaces import spaces_of

GROUP = "prosumer_pv_storage"
ALL = [
    f"algorithm.initial_log_std.{entry}=-1.0"
    for entry in ("must_run_price", "correction", "device_value", "device_margin", "device_share")
]


@pytest.fixture(scope="module")
def sim():
    return envs.batched("small", num_envs=3, split="train")


@pytest.fixture(scope="module")
def seen(sim):
    """Observations [T, rows, F] of a day."""
    group = next(g for g in sim.game.groups if g.name == GROUP)
    observation, found = sim.reset(seed=3), []
    for _ in range(sim.slots):
        found.append(group.see(observation).flatten(0, 1).clone())
        action = torch.zeros(3, sim.num_seats, len(sim.game.layout.actions))
        observation = sim.step(action).observation
    return torch.stack(found)


def module_of(sim, *words):
    algorithm = make(compose("train", ["name=x", *words])["algorithm"])
    module = networks(algorithm, spaces_of(sim))[GROUP]
    with torch.no_grad():  # as if it had learned
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def test_moments_of_parts_are_those_of_the_whole_whatever_the_parts():
    rows = torch.randn(1000, 3, generator=torch.Generator().manual_seed(1)) * 2 + 5
    whole, scores = Moments.of(rows), StandardScores(3)
    for part in rows.split([1, 400, 599]):
        scores.take(Moments.of(part))
    torch.testing.assert_close(scores.mean, whole.mean.float())
    torch.testing.assert_close(scores.squares, whole.squares.float())
    variance, mean = torch.var_mean(rows.double(), 0, correction=0)
    torch.testing.assert_close(scores.mean, mean.float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(scores.deviation, variance.sqrt().float(), rtol=1e-5, atol=0)
    split = Moments.of(rows[:300]) + Moments.of(rows[300:])
    torch.testing.assert_close(split.squares, whole.squares)


def test_a_critic_sees_the_market_and_its_actor_does_not(sim, seen):
    module = module_of(sim, "algorithm=mappo")
    size = module.model_config["spaces"].state.shape[0]
    rows, state = seen[0], torch.randn(len(seen[0]), size)
    with torch.no_grad():
        alone = module.forward_inference({Columns.OBS: rows})[Columns.ACTION_DIST_INPUTS]
        told = module.forward_inference({Columns.OBS: rows, STATE: state})
        value = module.compute_values({Columns.OBS: rows, STATE: state})
        other = module.compute_values({Columns.OBS: rows, STATE: -state})
    assert torch.equal(alone, told[Columns.ACTION_DIST_INPUTS])
    assert (value != other).all()


@torch.no_grad()
def test_a_policy_that_remembers_acts_by_interval_as_on_the_whole_day(sim, seen):
    module, memory, actions = module_of(sim, "algorithm=recurrent_ppo", *ALL), None, []
    for rows in seen:
        action, memory = act(module, rows, memory)
        actions.append(action)
    whole = module.forward_train({Columns.OBS: seen.transpose(0, 1)})
    mean = whole[Columns.ACTION_DIST_INPUTS].chunk(2, -1)[0].clamp(-1, 1)
    torch.testing.assert_close(torch.stack(actions, 1), mean, atol=1e-5, rtol=0)
    forgot, _ = act(module, seen[-1], None)
    assert (forgot != actions[-1]).any(), "the day before counts"


def test_a_squashed_density_is_that_of_the_transformed_distribution(sim, seen):
    module = module_of(sim, "algorithm=sac", *ALL).double()
    rows = seen[40].double()
    noise = torch.randn(len(rows), module.action_space.shape[0], dtype=torch.float64)
    action, density, entries = module.draw(rows, noise)
    prior, matters = module.priors(rows)
    assert matters.any()
    assert (~matters).any()
    assert torch.equal(action[~matters], prior[~matters]), "what is held is exactly the prior's"
    assert entries.tolist() == matters.sum(-1).tolist()
    still, _, _ = module.draw(rows, None)
    for row in range(len(rows)):
        at = matters[row]
        if not at.any():
            assert density[row] == 0
            continue
        mean = torch.atanh(still[row, at])
        deviation = (torch.atanh(action[row, at]) - mean) / noise[row, at]
        base = Independent(Normal(mean, deviation), 1)
        oracle = TransformedDistribution(base, [TanhTransform()])
        torch.testing.assert_close(
            density[row], oracle.log_prob(action[row, at]), rtol=1e-6, atol=1e-6
        )


def test_gradients_of_the_policys_value_leave_the_critics_alone(sim, seen):
    module = module_of(sim, "algorithm=sac")
    rows = seen[40]
    action, _, _ = module.draw(rows, torch.randn(len(rows), module.action_space.shape[0]))
    module.estimates(rows, action, "held").sum().backward()
    assert all(p.grad is None for p in module.critics.parameters())
    assert any(p.grad is not None and p.grad.any() for p in module.policy.parameters())
    before = module.estimates(rows, action, "targets")
    module.follow(1.0)
    after, learned = (module.estimates(rows, action, w) for w in ("targets", "critics"))
    torch.testing.assert_close(after, learned)
    assert (before != after).any()


def test_scores_of_returns_mean_the_returns():
    scores, returns = StandardScores(1), torch.randn(500, 1) * 7 - 3
    scores.take(Moments.of(returns))
    near = returns[(returns - returns.mean()).abs() < 4 * returns.std()]
    torch.testing.assert_close(scores.meant(scores(near.unsqueeze(-1))).squeeze(-1), near)
