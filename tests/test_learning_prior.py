"""Policies before and while they learn: the bidder they correct, what is held, what they see."""

import pytest
import torch
from ray.rllib.core.columns import Columns

from gridbazaar import envs
from gridbazaar.agents.bidders.protocol import make as make_bidder
from gridbazaar.agents.learning.actor_critic import draw
from gridbazaar.agents.learning.algorithm import make, networks
from gridbazaar.agents.learning.bidder import LearnedBidder
from gridbazaar.agents.learning.rollout import play
from gridbazaar.agents.learning.standard_scores import Moments
from gridbazaar.configs import compose
from gridbazaar.envs.spaces import spaces_of


@pytest.fixture(scope="module")
def sim():
    return envs.batched("small", num_envs=3, split="train")


def modules_of(sim, *words):
    algorithm = make(compose("train", ["name=x", *words])["algorithm"])
    return algorithm, networks(algorithm, spaces_of(sim))


@pytest.mark.parametrize("dispatch", ["market", "own"])
def test_the_truthful_prior_is_the_bidder_of_that_name(dispatch):
    words = () if dispatch == "market" else ("task.rules.dispatch=own", "task.rules.firming=none")
    sim = envs.batched("small", num_envs=3, split="train", overrides=words)
    _, modules = modules_of(sim)
    learned = LearnedBidder(modules, sim.game.groups, len(sim.game.layout.actions))
    classic = make_bidder("truthful", sim.game)
    observation = sim.reset(seed=1)
    for _ in range(sim.slots):
        mine, his = learned.act(observation)[0], classic.act(observation, None)[0]
        for group in sim.game.groups:
            if dispatch == "own" and group.name == "storage":
                continue  # alone, it does not know how many share the community's meter
            at = (slice(None), group.seats.unsqueeze(-1), group.acted)
            torch.testing.assert_close(mine[at], his[at], atol=0.02, rtol=0)
        observation = sim.step(mine).observation


def test_what_is_not_learned_stays_what_the_prior_says(sim):
    _, modules = modules_of(sim)
    group = next(g for g in sim.game.groups if g.name == "prosumer_pv_storage")
    module, entries = modules[group.name], [sim.game.layout.actions[i] for i in group.acted]
    observation = group.see(sim.reset(seed=2))
    noise = torch.ones(*observation.shape[:2], len(entries))
    action, _ = draw(module, observation, noise)
    still, _ = draw(module, observation, 0 * noise)
    moved = (action != still).flatten(0, 1).any(0)
    assert [e for e, m in zip(entries, moved, strict=True) if m] == [sim.game.layout.actions[2]]


def test_groups_with_nothing_to_learn_send_a_few_rows(sim):
    algorithm, modules = modules_of(sim)

    def explore(name, observation, noise, memory):
        return algorithm.explore(modules[name], observation, noise, memory)

    rollout = play(sim, explore, seed=3)
    rows = {
        g.name: len(
            algorithm.process(modules[g.name], rollout.trajectory(g.name, rollout.reward))[
                Columns.OBS
            ]
        )
        for g in sim.game.groups
    }
    for group in sim.game.groups:
        markets = sim.num_envs if bool(modules[group.name].learned.any()) else 1
        assert rows[group.name] == sim.slots * markets * len(group.seats)
    assert rows["consumer"] < rows["storage"] * 10


def test_networks_see_standard_scores_of_all_rows_so_far_and_save_them(sim):
    _, modules = modules_of(sim)
    module = modules["storage"]
    g = torch.Generator().manual_seed(0)
    size = module.observation_space.shape[0]
    first = torch.randn(500, size, generator=g) * 3 + 7
    first[:, 0] = 1.0  # never changes
    for part in first.split([100, 400]):
        module.scores[Columns.OBS].take(Moments.of(part))
    seen = module.standard({Columns.OBS: first})[Columns.OBS]
    torch.testing.assert_close(seen.mean(0), torch.zeros(size), atol=1e-4, rtol=0)
    deviation = seen.std(0, correction=0)
    assert deviation[0] == 0
    torch.testing.assert_close(deviation[1:], torch.ones(size - 1), atol=0.02, rtol=0)
    kept = module.scores[Columns.OBS].mean.clone()
    module.forward_train({Columns.OBS: first * 2})
    assert torch.equal(module.scores[Columns.OBS].mean, kept), "learning itself changes nothing"

    _, others = modules_of(sim)
    others["storage"].set_state(module.get_state())
    torch.testing.assert_close(
        others["storage"].compute_values({Columns.OBS: first}),
        module.compute_values({Columns.OBS: first}),
    )
