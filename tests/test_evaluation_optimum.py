from dataclasses import replace

import highspy
import numpy as np
import pytest
import torch

from gridbazaar import envs
from gridbazaar.agents.bidders import make
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.errors import OptimumError
from gridbazaar.evaluation.given_days import days_of, unknown
from gridbazaar.evaluation.optimum import Optimum, _run
from gridbazaar.evaluation.playback import Playback

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
    shape = (B, sim.num_seats, len(sim.game.layout.actions))
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
    alone = ("task.rules.imbalance=grid", "task.rules.firming=none")
    sim, days, intervals, record = _play("grid_only", (*_TASKS[task], *alone), _random)
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


# Every kind of devices, as far as a home has several.
_KINDS = (
    "task.devices.vehicle.v2g=true",
    "+devices@task.devices.heat_pump=heat_pump",
    "+devices@task.devices.flexible_load=flexible_load",
)
_RULES = {
    "metered": ("quantity=metered", "firming=none"),
    "pool": ("quantity=committed", "imbalance=pool", "firming=community"),
    "grid": ("quantity=committed", "imbalance=grid", "firming=none"),
    "own dispatch": ("dispatch=own", "firming=none"),
}


@pytest.mark.parametrize("rules", _RULES)
def test_the_optimum_played_back_costs_what_the_program_says(town, rules):
    sim = town.simulation(*(f"task.rules.{word}" for word in _RULES[rules]))
    planned, played = _play_back(sim)
    torch.testing.assert_close(played, planned, rtol=1e-6, atol=0)


@pytest.mark.parametrize("tariff", ["german_tou_all_year", "ce_sdt_nsw"])
def test_the_optimum_of_several_devices_a_seat_is_played_back(town, tariff):
    sim = town.simulation(*_KINDS, f"tariff@task.tariff={tariff}")
    planned, played = _play_back(sim)
    torch.testing.assert_close(played, planned, rtol=1e-6, atol=0)


def test_the_optimum_cannot_be_played_where_orders_come_late(town):
    planned, played = _play_back(town.simulation("ledger.block_gas=1", ledger="block"))
    assert (played > planned * (1 + 1e-3)).all()


def _play_back(sim):
    """Return what days cost by the program, and with its plans played, [B] EUR each."""
    observation, state, cost = sim.reset(seed=5), None, 0.0
    days = days_of(sim)
    optimum = Optimum(sim.community, sim.rules.unserved_price)
    plans = [optimum.solve(day) for day in days]
    bidder = Playback(plans, days, sim.game, sim.community.pv_kwp)
    for _ in range(sim.slots):
        action, state = bidder.act(observation, state)
        interval = sim.step(action)
        observation = interval.observation
        assert not interval.reward.violation.any()
        cost = cost - interval.reward.total.sum(-1)
    return torch.tensor([plan.cost_eur for plan in plans], dtype=torch.float64), cost


def test_worth_is_what_more_content_saves(town):
    sim = town.simulation()
    sim.reset(seed=5)
    (day, _), dt = days_of(sim), 1e-3
    optimum = Optimum(sim.community, sim.rules.unserved_price)
    plan = optimum.solve(day)
    owner = torch.cat([device.seat for device in sim.fleet.kinds.values()]).sort().values
    storing = (day.units.brought_kwh[:, 0] > 1).nonzero()[0]
    assert len(storing) > 3
    for unit in storing:
        costs = []
        for more in (-dt, dt):
            brought = day.units.brought_kwh.copy()
            brought[unit, 0] += more
            units = day.units._replace(brought_kwh=brought)
            costs.append(optimum.solve(replace(day, units=units)).cost_eur)
        seat = int(owner[unit])
        # Between the slopes to either side, where the plan changes.
        low, high = sorted([(plan.cost_eur - costs[1]) / dt, (costs[0] - plan.cost_eur) / dt])
        assert low - 1e-6 <= plan.worth[0, seat, 0] <= high + 1e-6


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
    sim, days, _, _ = _play("grid_only", (), _random)
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


class Wavering:
    """A solver that gives up a few times, and what it was told to be."""

    def __init__(self, failures):
        self.failures, self.runs, self.tried = failures, 0, []

    def run(self):
        self.runs += 1

    def getModelStatus(self):  # noqa: N802 - HiGHS's name
        gave_up = self.runs <= self.failures
        return highspy.HighsModelStatus.kUnknown if gave_up else highspy.HighsModelStatus.kOptimal

    def clearSolver(self):  # noqa: N802
        pass

    def setOptionValue(self, name, value):  # noqa: N802
        assert name == "solver"
        self.tried.append(value)


@pytest.mark.parametrize("failures", [0, 1, 2, 3])
def test_a_solver_that_gives_up_begins_anew_and_then_goes_another_way(failures):
    solver = Wavering(failures)
    found = _run(solver)
    kinds = highspy.HighsModelStatus
    assert found == (kinds.kUnknown if failures == 3 else kinds.kOptimal)
    assert solver.tried == ["simplex", "ipm"][:failures]
