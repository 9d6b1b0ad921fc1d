"""PV that turns down: nothing is fed in where the grid charges for it, and nothing else changes."""

import pytest
import torch

from gridbazaar.agents.bidders import make
from gridbazaar.envs.devices.fleet import Fleet
from gridbazaar.envs.devices.pv import Pv
from gridbazaar.errors import ConfigError
from gridbazaar.evaluation.given_days import days_of, unknown
from gridbazaar.evaluation.optimum import Optimum
from gridbazaar.evaluation.playback import Playback

PV = "+devices@task.devices.pv=pv"
CHARGED = "task.tariff.feed_in=-0.03"
RULES = {
    "metered": ("task.rules.quantity=metered", "task.rules.firming=none"),
    "pool": (),
    "grid": ("task.rules.imbalance=grid", "task.rules.firming=none"),
}


def play(sim, policy, seed=5):
    """Return the intervals of a day; `policy` maps observation and state to action and state."""
    observation, state = sim.reset(days=sim.community.days["train"][:1].repeat(2), seed=seed), None
    intervals = []
    for _ in range(sim.slots):
        action, state = policy(observation, state)
        intervals.append(sim.step(action))
        observation = intervals[-1].observation
    return intervals


def total(intervals):
    return sum(i.reward.total.sum(-1) for i in intervals)


def noise(sim):
    generator = torch.Generator().manual_seed(1)
    shape = (sim.num_envs, sim.num_seats, len(sim.game.layout.actions))

    def act(observation, state):
        return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1, None

    return act


@pytest.mark.parametrize("bidder", ["truthful", "tariff_rule", "fixed_margin"])
def test_where_the_grid_pays_it_changes_no_number(town, bidder):
    costs = []
    for words in ((), (PV,)):
        sim = town.simulation(*words)
        costs.append(total(play(sim, make(bidder, sim.game).act)))
    torch.testing.assert_close(costs[1], costs[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rules", RULES)
def test_what_the_sun_gives_is_used_fed_in_or_turned_down(town, rules):
    sim = town.simulation(PV, CHARGED, *RULES[rules])
    intervals, t = play(sim, noise(sim)), 0
    curtailed = 0.0
    for interval in intervals:
        delivered, row = interval.delivered, sim.first_slot + t
        sun = sim.community.pv_kw[row]
        torch.testing.assert_close(delivered.pv_kw + interval.curtailed_kw, sun)
        assert (delivered.pv_kw >= -1e-12).all()
        assert (interval.curtailed_kw >= -1e-12).all()
        net = delivered.pv_kw - interval.load_kw + delivered.flexible_kw
        torch.testing.assert_close(delivered.net_kw, net)
        assert sum(interval.bill.accounts.values()).abs().max() < 1e-9
        # Of a surplus nothing goes to the grid but what a device gives, or others leave over.
        over = delivered.net_kw - interval.traded.position_kw - interval.traded.firmed_kw
        seen = (interval.curtailed_kw > 1e-9) & (delivered.pv_kw > 1e-9)
        assert (over[seen] < 1e-9).all()
        curtailed, t = curtailed + interval.curtailed_kw.sum(), t + 1
    assert curtailed > 1


def test_it_saves_what_the_grid_would_charge(town):
    costs = []
    for words in ((CHARGED,), (CHARGED, PV)):
        sim = town.simulation(*words, *RULES["metered"])
        intervals = play(sim, make("truthful", sim.game).act)
        costs.append(total(intervals))
    assert (costs[1] > costs[0] + 0.01).all()
    fed_in = torch.stack([i.bill.grid_kw for i in intervals]).clamp(min=0)
    assert fed_in.max() < 1e-6


@pytest.mark.parametrize("rules", ["metered", "pool"])
def test_the_optimum_with_negative_feed_in_is_attained(town, rules):
    sim = town.simulation(PV, CHARGED, *RULES[rules])
    sim.reset(days=sim.community.days["train"][:1].repeat(2), seed=5)
    days, optimum = days_of(sim), Optimum(sim.community, sim.rules.unserved_price)
    assert "optimum is missing" in unknown(days)
    assert optimum.least_feed_in < -0.03
    assert unknown(days, optimum.least_feed_in) == ""
    plans = [optimum.solve(day) for day in days]
    played = total(play(sim, Playback(plans, days, sim.game, sim.community.pv_kwp).act))
    planned = torch.tensor([-plan.cost_eur for plan in plans], dtype=torch.float64)
    torch.testing.assert_close(played, planned, rtol=1e-6, atol=0)
    must = town.simulation(CHARGED, *RULES[rules])
    must.reset(days=must.community.days["train"][:1].repeat(2), seed=5)
    free = Optimum(must.community, must.rules.unserved_price)
    costs = [free.solve(day).cost_eur for day in days_of(must)]
    assert (torch.tensor(costs, dtype=torch.float64) > -planned + 0.01).all()


def test_positions_and_power_by_hand():
    seat, each = torch.arange(3), torch.ones(3)
    pv = Pv(seat, 4 * each, 0 * each, each, 0 * each, 0.25, torch.zeros(1, 3), 0 * each)
    fleet, charged = Fleet.of({"pv": pv}, seats=4), torch.tensor([[-0.03]])  # the last has no unit
    must_run = torch.tensor([[2.5, -1.0, 3.0, 3.0]])
    flexible = torch.tensor([[0.5, 0.0, -1.0, 0.0]])
    cleared = torch.tensor([[1.0, -1.0, 2.0, 1.0]])
    committed = fleet.committed(must_run, flexible, cleared, charged)
    assert (committed + flexible).tolist() == [[1.0, -1.0, 2.0, 3.0]]
    # 4 kW of sun: as much as fills load, devices and position, or all.
    sun, load = torch.full((1, 4), 4.0), torch.tensor([[1.0, 2.0, 3.0, 1.0]])
    assert fleet.generated(sun, load, committed, charged).tolist() == [[1.5, 1.0, 4.0, 4.0]]
    for paid in (0 * charged, -charged):
        assert torch.equal(fleet.committed(must_run, flexible, cleared, paid), must_run)
        assert torch.equal(fleet.generated(sun, load, must_run, paid), sun)


def test_a_price_above_zero_is_refused(town):
    with pytest.raises(ConfigError, match="least_feed_in"):
        town.simulation(PV, "task.devices.pv.least_feed_in=0.05")
