"""The world as one value: forked, picked, replaced and stored in mid-day; staggered days."""

import pytest
import torch

from gridbazaar.envs.staggered import Staggered
from gridbazaar.rows import from_plain, pick_rows, replace_rows, to_plain

F64 = torch.float64
FORK, AFTER = 40, 4
WORLDS = {
    "auction": ("uniform_auction", "ideal", ()),
    "time priority on blocks": ("continuous", "block", ("ledger.block_gas=20",)),
    "forecast error on a drawn chain": (
        "vcg",
        "proof_of_work",
        ("task.rules.forecast_spread=0.2",),
    ),
    "hidden volumes": (
        "mid_market_rate",
        "tendermint",
        ("ledger.layers=[commit_reveal,aggregated_disclosure,noise]",),
    ),
    "coins and certificates": (
        "uniform_auction",
        "block",
        ("incentives=[demurrage,nrgcoin,green_certificates,energy_and_data_coins]",),
    ),
    "curtailed": ("locational_price", "block", ("task.rules.limits.action=curtail",)),
}
every_world = pytest.mark.parametrize("name", WORLDS)


def actions(seed, slots, batch, seats):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(slots, batch, seats, 6, generator=generator, dtype=F64)
    return draw * 2 - 1


def world(town, name, num_envs=3):
    market, ledger, words = WORLDS[name]
    return town.simulation(*words, market=market, ledger=ledger, num_envs=num_envs)


def begun(town, name):
    """A day that was played until the fork."""
    sim = world(town, name)
    sim.reset(seed=3)
    for action in actions(1, FORK, 3, sim.num_seats):
        sim.step(action)
    return sim


def play(sim, some):
    """What is seen and earned, [T, B, N, F + 1]."""
    found = []
    for action in some:
        interval = sim.step(action)
        found.append(torch.cat([interval.observation, interval.reward.total.unsqueeze(-1)], -1))
    return torch.stack(found)


@every_world
def test_from_one_state_two_different_actions_are_played(town, name):
    sim = begun(town, name)
    state, seen = sim.state, sim.observe()
    one, other = (actions(seed, AFTER, 3, sim.num_seats) for seed in (7, 8))
    first = play(sim, one)
    sim.state = state
    assert torch.equal(sim.observe(), seen)
    second = play(sim, other)
    sim.state = state
    assert torch.equal(play(sim, one), first)
    assert not torch.equal(first, second)


@every_world
def test_markets_are_picked_and_replaced(town, name):
    sim = begun(town, name)
    state, some = sim.state, actions(7, AFTER, 3, sim.num_seats)
    whole = play(sim, some)
    rows = torch.tensor([2, 0, 2, 2])
    sim.state = pick_rows(state, rows)
    assert sim.num_envs == 4
    torch.testing.assert_close(play(sim, some[:, rows]), whole[:, rows], rtol=1e-12, atol=1e-12)
    sim.state = replace_rows(state, torch.tensor([1]), pick_rows(state, torch.tensor([0])))
    mixed = torch.tensor([0, 0, 2])
    torch.testing.assert_close(play(sim, some[:, mixed]), whole[:, mixed], rtol=1e-12, atol=1e-12)
    sim.state = state


@every_world
def test_a_stored_state_goes_on_in_another_simulation(town, name, tmp_path):
    sim = begun(town, name)
    torch.save(to_plain(sim.state), tmp_path / "state.pt")
    some = actions(7, AFTER, 3, sim.num_seats)
    expected = play(sim, some)
    sim.reset(seed=99)
    stored = torch.load(tmp_path / "state.pt", weights_only=True)
    sim.state = from_plain(sim.state, stored)
    assert torch.equal(play(sim, some), expected)


def test_a_day_after_a_restored_state_is_the_next_of_its_markets(town):
    sim = world(town, "auction")
    sim.reset(seed=3)
    state = sim.state
    following = sim.reset()
    sim.reset(seed=50)
    sim.state = state
    assert torch.equal(sim.reset(), following)


def test_there_is_no_state_before_the_first_day(town):
    sim = town.build(world_config(), num_envs=1)
    for ask in (lambda: sim.state, sim.observe, sim.global_state):
        with pytest.raises(ValueError, match=r"call reset\(\) first"):
            ask()


def world_config():
    from gridbazaar import envs

    return envs.world()


@pytest.mark.parametrize("name", ["auction", "hidden volumes"])
def test_some_markets_begin_anew_while_others_go_on(town, name):
    """Market 1 is reset after 5 slots; each market plays as it would alone."""
    sim = world(town, name)
    sim.reset()
    three = sim.state
    first = actions(1, 9, 3, sim.num_seats)
    staggered = Staggered(sim)
    begun = staggered.reset(seed=torch.tensor([11, 12, 13]))
    assert begun.shape[0] == 3
    early = [staggered.step(action) for action in first[:5]]
    again = staggered.reset(torch.tensor([1]), seed=torch.tensor([77]))
    late = [staggered.step(action) for action in first[5:]]
    assert torch.equal(again[[0, 2]], early[-1].observation[[0, 2]])

    sim.state = three
    sim.reset(seed=torch.tensor([11, 12, 13]))
    whole = play(sim, first)
    sim.reset(seed=torch.tensor([20, 77, 21]))
    anew = play(sim, first[5:])
    for step, expected, new in zip(late, whole[5:], anew, strict=True):
        got = torch.cat([step.observation, step.reward.unsqueeze(-1)], -1)
        torch.testing.assert_close(got[[0, 2]], expected[[0, 2]], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(got[1], new[1], rtol=1e-12, atol=1e-12)
        assert sorted(m for markets, _ in step.intervals for m in markets.tolist()) == [0, 1, 2]
    assert not late[-1].done.any()


def test_staggered_markets_end_one_after_the_other(town):
    sim = world(town, "auction")
    sim.reset()
    three = sim.state
    staggered = Staggered(sim)
    with pytest.raises(ValueError, match="reset all markets"):
        staggered.reset(torch.tensor([0]))
    staggered.reset(seed=1)
    idle = torch.zeros(3, sim.num_seats, 6, dtype=F64)
    staggered.step(idle)
    staggered.reset(torch.tensor([2]))
    for _ in range(94):
        assert not staggered.step(idle).done.any()
    assert staggered.step(idle).done.tolist() == [True, True, False]
    staggered.reset(torch.tensor([0, 1]))
    assert staggered.step(idle).done.tolist() == [False, False, True]
    sim.state = three
