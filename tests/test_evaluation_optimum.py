from dataclasses import replace

import numpy as np
import pytest
import torch

from gridbazaar import envs
from gridbazaar.agents.bidders import make
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.errors import OptimumError
from gridbazaar.evaluation.optimum import Optimum, days_of, unknown

B = 4
_TASKS = {"plain": (), "v2g": ("task.devices.vehicle.v2g=true",)}


def _play(market, overrides, act):
    """Return simulation, given days and the sum of cost that is neither fee nor penalty."""
    world = envs.world(market=market, overrides=overrides)
    sim = envs.build(world, B, "test", 0, dtype=torch.float64)
    observation, intervals = sim.reset(seed=11), []
    days = days_of(sim)
    policy = act(sim)
    for _ in range(sim.slots):
        interval = sim.step(policy(observation))
        observation = interval.observation
        intervals.append(interval)
    facts = Facts.of(sim.community, 0.5)
    return sim, days, intervals, DayRecord.of(intervals, facts, sim.delivery.limits)


def _random(sim):
    noise = torch.Generator().manual_seed(3)
    shape = (B, sim.num_seats, 3)
    return lambda _: 2 * torch.rand(shape, generator=noise, dtype=torch.float64) - 1


def _classic(name):
    def policy(sim):
        bidder, memory = make(name, sim.game), [None]

        def act(observation):
            action, memory[0] = bidder.act(observation, memory[0])
            return action

        return act

    return policy


@pytest.mark.parametrize(
    ("task", "policy"),
    [("plain", _classic("tariff_rule")), ("plain", _random), ("v2g", _random)],
)
def test_no_bidder_costs_less_than_the_optimum(task, policy):
    sim, days, _, record = _play("uniform_auction", _TASKS[task], policy)
    optimum = Optimum(sim.community, sim.rules.unserved_price)
    best = torch.tensor([optimum.solve(day).cost_eur for day in days], dtype=torch.float64)
    cost = record.seat_cost.sum(-1)
    assert (cost >= best - 1e-6).all()
    assert (cost > best).any()


@pytest.mark.parametrize("task", _TASKS)
def test_what_a_bidder_did_is_a_feasible_point_at_its_own_cost(task):
    sim, days, intervals, record = _play("grid_only", _TASKS[task], _random)
    optimum = Optimum(sim.community, sim.rules.unserved_price)
    besides = sum(i.reward.violation + i.bill.fee + i.bill.penalty for i in intervals).sum(-1)
    for b, day in enumerate(days):
        point = _point(optimum, record, b)
        low, high = optimum.bounds(day)
        assert (point >= low - 1e-9).all()
        assert (point <= high + 1e-9).all()
        matrix, least, most = optimum.balance(day)
        row = matrix @ point
        assert (row >= least - 1e-9).all()
        assert (row <= most + 1e-9).all()
        price, constant = optimum.costs(day)
        expected = record.seat_cost[b].sum() + besides[b]
        assert price @ point + constant == pytest.approx(float(expected), abs=1e-8)


def _point(optimum, record, b):
    """Lay a recorded day out as the program's variables, without local trade."""
    order = torch.cat(list(record.facts.owner.values())).argsort()

    def of_units(values):
        return torch.cat(list(values.values()), -1)[:, b, order].T.numpy()

    power, energy = of_units(record.device_kw), of_units(record.content_kwh)
    net = record.net_kw[:, b, optimum._seats].T.numpy()
    parts = [(-power).clip(min=0), power.clip(min=0), energy, net.clip(min=0), (-net).clip(min=0)]
    return np.concatenate([*(part.ravel() for part in parts), np.zeros(power.shape[1])])


def test_an_impossible_day_is_named():
    sim, days, _, _ = _play("grid_only", (), lambda s: lambda _: torch.zeros(B, s.num_seats, 3))
    optimum = Optimum(sim.community, sim.rules.unserved_price)
    broken = replace(days[0], prices=SlotPrices(*[np.full(sim.slots, -1.0)] * 5))
    with pytest.raises(OptimumError, match="HiGHS reports"):
        optimum.solve(broken)


@pytest.mark.parametrize("change", [{"retail": 0.05}, {"feed_in": -0.01}, {"retail": -0.02}])
def test_the_optimum_is_missing_by_name_where_prices_cross(town, change):
    sim = town.simulation("task.rules.forecast=perfect")
    sim.reset(seed=3)
    days = days_of(sim)
    assert unknown(days) == ""
    name, value = next(iter(change.items()))
    crossed = getattr(days[1].prices, name).copy()
    crossed[40] = value
    days[1] = replace(days[1], prices=days[1].prices._replace(**{name: crossed}))
    assert "optimum is missing: 1 of 2 days" in unknown(days)
