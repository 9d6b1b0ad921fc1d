"""Batches of markets as other libraries' environments: the same world, whoever asks."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
import torch
from gymnasium.vector import AutoresetMode

from gridbazaar import envs
from gridbazaar.agents.load import load
from gridbazaar.agents.pettingzoo_policy import policy_bidder
from gridbazaar.agents.wrappers.vector_env import SeatVectorEnv
from gridbazaar.configs import options
from gridbazaar.envs import market_env
from gridbazaar.errors import ArgumentError, MissingExtraError, UnknownNameError
from gridbazaar.evaluation.rollout import daily_cost

WRAPPERS = "gridbazaar.agents.wrappers"
PV_STORAGE = "prosumer_pv_storage"


@pytest.fixture(scope="module")
def build(town):
    """Return what builds a fresh simulation of the month's data; a day is cut to some slots."""

    def make(num_envs=2, slots=None, **options):
        simulation = town.build(envs.world(), num_envs=num_envs, **options)
        if slots is not None:
            simulation.slots = slots
        return simulation

    return make


def needs(library):
    return pytest.importorskip(library, reason=f"{library} is an extra, see docs/recipes.md")


def day_of(simulation, bidder, slots, seed=3):
    """Return rewards [T, B, N] of a bidder's first slots."""
    observation, state, rewards = simulation.reset(seed=seed), None, []
    for _ in range(slots):
        action, state = bidder.act(observation, state)
        interval = simulation.step(action)
        observation = interval.observation
        rewards.append(interval.reward.total)
    return torch.stack(rewards)


@pytest.mark.parametrize("seats", [PV_STORAGE, "storage", "all"])
def test_zero_residual_plays_as_the_rule_does(build, seats):
    env = SeatVectorEnv(build(), seats, others="truthful", residual=True)
    group = env.group
    wanted = day_of(build(), load("truthful", env.simulation.game), 3)[:, :, group.seats]
    seen, _ = env.reset(seed=3)
    assert seen.shape == env.observation_space.shape == (2 * len(group.seats), seen.shape[1])
    for t in range(3):
        assert env.observation_space.contains(seen)
        seen, reward, done, cut, _ = env.step(np.zeros(env.action_space.shape, np.float32))
        assert torch.equal(torch.from_numpy(reward).view(2, -1).float(), wanted[t].float())
        assert not done.any()
        assert not cut.any()


def test_seats_see_and_do_what_agents_of_the_pettingzoo_environment_do(build, monkeypatch):
    """The same actions for the same agents give the same observations and rewards."""
    vector = SeatVectorEnv(build(1), "all")
    names = vector.simulation.community.seats
    monkeypatch.setattr(market_env, "build", lambda world, **_: build(1))
    single = envs.MarketEnv(envs.world(), padded=True)
    chance = np.random.default_rng(1)
    rows, _ = vector.reset(seed=5)
    agents, _ = single.reset(seed=5)
    for _ in range(2):
        assert (rows == np.stack([agents[name] for name in names])).all()
        actions = chance.uniform(-1.5, 1.5, vector.action_space.shape).astype(np.float32)
        rows, reward, *_ = vector.step(actions)
        agents, rewards, *_ = single.step(dict(zip(names, actions, strict=True)))
        assert reward.tolist() == pytest.approx([rewards[name] for name in names])


def test_days_follow_each_other_in_both_modes_of_autoreset(build):
    same, later = (
        SeatVectorEnv(build(slots=2), "ev", autoreset_mode=mode)
        for mode in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)
    )
    act = np.zeros(same.action_space.shape, np.float32)
    for env in (same, later):
        env.reset(seed=1)
        env.step(act)
    begun, reward, done, _, infos = same.step(act)
    last, again, over, _, nothing = later.step(act)
    assert done.all()
    assert over.all()
    assert (reward == again).all()
    assert (infos["final_obs"] == last).all()
    assert infos["_final_obs"].all()
    assert not nothing
    seen, reward, over, _, _ = later.step(act + np.nan)  # nobody plays these
    assert (seen == begun).all()
    assert not reward.any()
    assert not over.any()
    assert (same.step(act)[1] == later.step(act)[1]).all()


def test_gymnasiums_wrappers_count_whole_days(build):
    env = SeatVectorEnv(build(slots=3), "ev")
    counted = gym.wrappers.vector.RecordEpisodeStatistics(env)
    counted.reset(seed=1)
    act, total = np.zeros(env.action_space.shape, np.float32), np.zeros(env.num_envs)
    for _ in range(2):
        total[:] = 0
        for _ in range(3):
            _, reward, _, _, infos = counted.step(act)
            total += reward
        assert infos["episode"]["r"] == pytest.approx(total)
        assert (infos["episode"]["l"] == 3).all()
        counted.step(act)


def test_what_a_vector_environment_refuses(build):
    simulation = build()
    with pytest.raises(UnknownNameError, match=r"'prosumer_pv_store'.*prosumer_pv_storage"):
        SeatVectorEnv(simulation, "prosumer_pv_store")
    env = SeatVectorEnv(simulation, "ev")
    with pytest.raises(UnknownNameError, match="days"):
        env.reset(options={"day": 0})
    with pytest.raises(ArgumentError, match="list"):
        env.reset(seed=[1, 2])
    env.reset(options={"days": [96, 192]})
    assert simulation.first_slot.tolist() == [96, 192]
    with pytest.raises(ArgumentError, match=r"shape \(3,\)"):
        env.step(np.zeros(3))
    with pytest.raises(ArgumentError, match="finite"):
        env.step(np.full(env.action_space.shape, np.nan))
    with pytest.raises(ArgumentError, match="no array"):
        env.step([[1.0], [1.0, 2.0]])


def test_what_was_learned_plays_as_in_its_environment(build):
    """As a bidder it earns what it earned there, with the others by the rule."""
    env = SeatVectorEnv(build(slots=4), PV_STORAGE, others="own_use", residual=True)
    entries = env.action_space.shape[1]

    def policy(seen):
        return np.tanh(seen[:, :entries])

    seen, _ = env.reset(seed=3)
    earned = []
    for _ in range(4):
        seen, reward, *_ = env.step(policy(seen))
        earned.append(torch.from_numpy(reward).view(2, -1).float())
    played = day_of(build(slots=4), env.bidder(policy)(env.simulation.game), 4)[
        :, :, env.group.seats
    ]
    assert torch.equal(torch.stack(earned), played.float())


def test_what_was_learned_is_refused_elsewhere(build):
    env = SeatVectorEnv(build(), "ev")
    game = env.simulation.game
    assert env.bidder(np.tanh)(replace(game, slot_h=0.5))
    observation = env.simulation.reset(seed=1)
    with pytest.raises(ArgumentError, match=r"shape \(14, 56\), expected \(14, 5\)"):
        env.bidder(np.tanh)(game).act(observation)
    with pytest.raises(ArgumentError, match="41 seats of another community"):
        env.bidder(np.tanh)(replace(game, seats=game.seats[1:]))


def test_daily_cost_is_what_seats_lose_on_evenly_spread_days(build):
    simulation = build(3, slots=2, split="validation")
    days = simulation.community.days["validation"]
    cost = daily_cost(simulation, "truthful", seed=4)
    assert simulation.first_slot.tolist() == days[[0, len(days) // 3, 2 * len(days) // 3]].tolist()
    assert cost.shape == (3, simulation.num_seats)
    again = build(3, slots=2, split="validation")
    bidder = load("truthful", again.game)
    observation, total = again.reset(simulation.first_slot, 4), 0
    for _ in range(2):
        interval = again.step(bidder.act(observation, None)[0])
        observation, total = interval.observation, total + interval.reward.total
    assert torch.equal(cost, -total)
    mine = daily_cost(simulation, policy_bidder(lambda a, o: np.zeros(6), padded=True), seed=4)
    assert not torch.equal(mine, cost)


def test_every_task_has_a_name_at_pettingzoo(build, monkeypatch):
    names = {f"gridbazaar/{task}" for task in options("task")}
    assert names <= set(pettingzoo.parallel_registry)
    assert envs.pettingzoo_ids.register_tasks() == ()  # and none twice, which would warn
    asked = []

    def built(world, **options):
        asked.append((world, options["split"]))
        return build(1)

    monkeypatch.setattr(market_env, "build", built)
    env = pettingzoo.make("parallel", "gridbazaar/small", ledger="block", split="test")
    assert isinstance(env, envs.MarketEnv)
    (world, split), *_ = asked
    assert (world.task.name, world.ledger["name"], split) == ("small-v1", "block", "test")


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("stable_baselines3", "stable_baselines3", "sb3"),
        ("torchrl", "tensordict", "torchrl"),
        ("benchmarl", "benchmarl", "benchmarl"),
    ],
)
def test_a_missing_extra_is_named_with_its_mend(monkeypatch, module, library, extra):
    if module == "benchmarl":
        needs("torchrl")
    for name in [library, *(n for n in sys.modules if n.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, name, None)  # parts that an earlier test loaded too
    monkeypatch.delitem(sys.modules, f"{WRAPPERS}.{module}", raising=False)
    with pytest.raises(MissingExtraError, match=rf"pip install 'gridbazaar\[{extra}\]'"):
        importlib.import_module(f"{WRAPPERS}.{module}")


def test_stable_baselines3_gets_the_same_days(build):
    needs("stable_baselines3")
    from gridbazaar.agents.wrappers.stable_baselines3 import SeatVecEnv

    env = SeatVecEnv(build(slots=2), "ev", others="own_use")
    plain = SeatVectorEnv(build(slots=2), "ev", "own_use", False, AutoresetMode.SAME_STEP)
    env.seed(3)
    act = np.zeros(plain.action_space.shape, np.float32)
    assert (env.reset() == plain.reset(seed=3)[0]).all()
    for t in range(3):
        seen, reward, done, infos = env.step(act)
        rows, wanted, over, _, last = plain.step(act)
        assert (seen == rows).all()
        assert reward.tolist() == pytest.approx(wanted.tolist())
        assert (done == over).all()
        assert (done == (t == 1)).all()
        if done.all():
            assert (np.stack([i["terminal_observation"] for i in infos]) == last["final_obs"]).all()
    assert env.get_attr("render_mode") == [None] * env.num_envs
    assert (env.reset() != plain.reset(seed=3)[0]).any()  # a seed holds for one reset


def test_torchrl_finds_its_specs_kept_and_the_same_rewards(build):
    needs("torchrl")
    from torchrl.envs.utils import check_env_specs

    from gridbazaar.agents.wrappers.torchrl import BatchedMarketEnv

    env = BatchedMarketEnv(build(slots=3), residual=True)
    check_env_specs(env)
    assert sum(map(len, env.group_map.values())) == env.simulation.num_seats
    env.set_seed(3)

    def still(tensordict):
        for group, seats in env.group_map.items():
            acts = env.action_spec[group, "action"].shape[-1]
            tensordict[group, "action"] = torch.zeros(2, len(seats), acts)
        return tensordict

    day = env.rollout(5, still)
    assert day.shape == (2, 3)  # done after three
    assert day["next", "done"][:, -1].all()
    rule = load("truthful", env.simulation.game)
    wanted = day_of(build(slots=3), rule, 3)
    names = env.simulation.community.seats
    for group, seats in env.group_map.items():
        numbers = [names.index(seat) for seat in seats]
        found = day["next", group, "reward"].squeeze(-1).movedim(1, 0)
        assert torch.equal(found, wanted[:, :, numbers].float())
    assert torch.equal(day_of(build(slots=3), env.bidder(still)(env.simulation.game), 3), wanted)
    assert day["state"].shape == (2, 3, len(env.simulation.state_features))


def test_torchrl_resets_markets_together_and_takes_groups(build):
    needs("torchrl")
    from gridbazaar.agents.wrappers.torchrl import BatchedMarketEnv

    env = BatchedMarketEnv(build(), groups=("ev", "storage"), others="own_use")
    assert list(env.group_map) == ["ev", "storage"]
    some = env.reset()
    some["_reset"] = torch.tensor([[True], [False]])
    with pytest.raises(ArgumentError, match="together"):
        env.reset(some)
    everybody = BatchedMarketEnv(build(), groups=("all",))
    assert everybody.rand_step(everybody.reset())["next", "all", "reward"].shape[1] == 41
