"""The optimum within a feeder's limits: attained in AC, and no more than the limits ask for."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gridbazaar import envs
from gridbazaar.agents.bidders import make
from gridbazaar.agents.load import load
from gridbazaar.evaluation.config import configure
from gridbazaar.evaluation.feeder_optimum import FeederOptimum, said
from gridbazaar.evaluation.given_days import days_of
from gridbazaar.evaluation.optimum import Optimum
from gridbazaar.evaluation.outcome import OPTIMUM, PLAYED, WITHIN_LIMITS
from gridbazaar.evaluation.playback import Playback
from gridbazaar.evaluation.tournament import run

DAYS = [40, 60]


class Congested:
    """Two days on the congested feeder, and what they cost at most."""

    def __init__(self):
        self.sim = sim = envs.build(
            envs.world("congested"), len(DAYS), "test", 0, dtype=torch.float64
        )
        self.first = sim.community.days["test"][DAYS]
        sim.reset(days=self.first, seed=3)
        self.days = days_of(sim)
        self.optimum = Optimum(sim.community, sim.rules.unserved_price)
        self.free = [self.optimum.solve(day) for day in self.days]
        self.feeder, self.within = self.solved(sim.delivery, sim.rules.limits)

    def solved(self, delivery, limits):
        rules = self.sim.rules.model_copy(update={"limits": limits})
        like = SimpleNamespace(community=self.sim.community, delivery=delivery, rules=rules)
        feeder = FeederOptimum(self.optimum, like)
        return feeder, list(map(feeder.solve, self.days, self.first.tolist(), self.free))

    def play(self, bidder):
        """Return cost and price of broken limits, [B] each."""
        sim = self.sim
        observation, state = sim.reset(days=self.first, seed=3), None
        cost, price = 0.0, 0.0
        for _ in range(sim.slots):
            action, state = bidder.act(observation, state)
            interval = sim.step(action)
            observation = interval.observation
            cost = cost - interval.reward.total.sum(-1)
            price = price + interval.delivered.violation_eur
        return cost, price

    def played(self, plans):
        return self.play(Playback(plans, self.days, self.sim.game, self.sim.community.pv_kwp))


@pytest.fixture(scope="module")
def congested():
    return Congested()


def test_a_plan_within_limits_costs_what_it_says_when_played(congested):
    cost, price = congested.played([each.plan for each in congested.within])
    expected = torch.tensor([each.cost_eur for each in congested.within], dtype=torch.float64)
    torch.testing.assert_close(cost, expected, rtol=1e-6, atol=1e-6)
    broken = torch.tensor([each.violation_eur for each in congested.within], dtype=torch.float64)
    torch.testing.assert_close(price, broken, rtol=1e-6, atol=1e-6)


def test_it_lies_between_the_bound_without_limits_and_that_bound_played(congested):
    free, price = congested.played(congested.free)
    assert (price > 1).all()
    for plan, within, played in zip(congested.free, congested.within, free, strict=True):
        assert plan.cost_eur - 1e-6 <= within.bound_eur
        assert within.settled
        assert within.cost_eur < played - 1
        assert within.rounds > 1
    assert all(
        map(congested.feeder.breaks, congested.days, congested.first.tolist(), congested.free)
    )


def test_no_bidder_costs_less(congested):
    cost, _ = congested.play(make("truthful", congested.sim.game))
    bound = torch.tensor([each.bound_eur for each in congested.within], dtype=torch.float64)
    assert (cost > bound).all()


@pytest.mark.parametrize("step", [0.02, 0.2, 0.5])
def test_no_step_towards_the_plan_without_limits_is_cheaper_in_ac(congested, step):
    """Of two plans' mixture the energy costs at most the mixture of what theirs does."""
    for b, day in enumerate(congested.days):
        within, free = congested.within[b], congested.free[b]
        power_kw = within.plan.power_kw + step * (free.power_kw - within.plan.power_kw)
        energy_eur = (1 - step) * (within.cost_eur - within.violation_eur) + step * free.cost_eur
        grid = congested.feeder._at(int(congested.first[b]), len(power_kw))
        price = _price(congested.sim, grid, day.base_kw + power_kw.sum(-1))
        assert energy_eur + price > within.cost_eur - 2e-3


def _price(sim, grid, net_kw):
    """Price of broken limits, slot by slot, from the solver's own figures."""
    rules, limits = sim.rules.limits, grid.limits
    injection = grid.background_kw + torch.as_tensor(net_kw) @ grid.to_bus
    state = grid.solver.solve(injection, grid.reactive_kvar)
    volts = (state.vm_pu - limits.vm_max_pu).clamp(min=0) + (limits.vm_min_pu - state.vm_pu).clamp(
        min=0
    )
    over = (state.line_loading_percent - limits.line_percent).clamp(min=0).sum(-1)
    over = over + (state.trafo_loading_percent - limits.trafo_percent).clamp(min=0).sum(-1)
    each = volts.sum(-1) * rules.voltage_price + over * rules.loading_price
    return float(each.sum()) * sim.community.slot_h


def test_limits_without_a_price_change_nothing(congested):
    sim = congested.sim
    free = sim.rules.limits.model_copy(update={"loading_price": 0.0, "voltage_price": 0.0})
    for plan, within in zip(congested.free, congested.solved(sim.delivery, free)[1], strict=True):
        assert within.rounds == 1
        assert within.plan is plan
        assert within.broken.total() > 0


def test_what_no_plan_can_keep_is_named(congested):
    delivery = congested.sim.delivery

    def narrow(*background):
        grid = delivery.grid_context(*background)
        limits = replace(grid.limits, trafo_percent=grid.limits.trafo_percent / 2)
        return replace(grid, limits=limits)

    tight = SimpleNamespace(grid_context=narrow)
    _, plans = congested.solved(tight, congested.sim.rules.limits)
    for within in plans:
        assert within.violation_eur > 1
        assert within.broken["transformer 0"] > 0
        assert within.alone["transformer 0"] > 0
    text = said(plans)
    assert "transformer 0 in" in text
    assert "intervals on 2 days" in text
    assert "keeps them on all 2 days" in said([replace(p, broken=Counter()) for p in plans])


@pytest.mark.long
def test_an_evaluation_has_the_bound_within_limits_where_they_bind(caplog):
    words = ["name=x", "bidder=truthful", "days=2", "planner=false", "precision=float64"]
    costs = {}
    for task in ("congested", "small"):
        tournament = run(configure([*words, f"task={task}"]), load)
        found = {o.combination.bidder: o for o in tournament.outcomes}
        assert (WITHIN_LIMITS in found) == (task == "congested")
        costs[task] = {n: float(o.figures["community_cost"].mean()) for n, o in found.items()}
    cost = costs["congested"]
    assert cost[OPTIMUM] <= cost[WITHIN_LIMITS] + 1e-6
    assert cost[WITHIN_LIMITS] < min(cost[PLAYED], cost["truthful"])
    assert "within the feeder's limits" in caplog.text
