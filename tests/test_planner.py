import torch

from gridbazaar.agents.bidders import make
from gridbazaar.evaluation.given_days import days_of
from gridbazaar.evaluation.optimum import Optimum
from gridbazaar.evaluation.planner import Planner, following
from gridbazaar.evaluation.playback import Seen, as_planned


def _days(sim, count):
    return sim.community.days["test"][:count].repeat(sim.num_envs)[: sim.num_envs]


def test_the_planner_sees_nothing_that_is_still_to_come(town):
    sim = town.simulation()
    observation = sim.reset(days=_days(sim, 1), seed=5)
    expected, _ = Planner(sim).act(observation, None)
    blind = Planner(sim)
    blind._base_kw = blind._base_kw.clone()
    blind._base_kw[int(sim.first_slot[0]) :] = torch.nan
    action, _ = blind.act(observation, None)
    assert torch.equal(action, expected)
    blind._base_kw[: int(sim.first_slot[0])] = 0
    action, _ = blind.act(observation, None)
    assert not torch.equal(action, expected)


def test_no_car_to_come_is_planned_for(town):
    sim = town.simulation()
    sim.reset(days=_days(sim, 1), seed=5)
    planner, cars = Planner(sim), sim.community.fleet.kinds["vehicle"]
    assert cars.need_kwh.any()
    assert not planner._community.fleet.kinds["vehicle"].need_kwh.any()


def test_a_planner_costs_less_than_the_truthful_and_no_less_than_the_optimum(town):
    sim = town.simulation()
    best = None
    costs = {}
    for name in ("planner", "truthful"):
        observation, state, cost = sim.reset(days=_days(sim, 2), seed=5), None, 0.0
        if best is None:
            optimum = Optimum(sim.community, sim.rules.unserved_price)
            best = [optimum.solve(day).cost_eur for day in days_of(sim)]
        bidder = Planner(sim, pasts=1) if name == "planner" else make(name, sim.game)
        for _ in range(sim.slots):
            action, state = bidder.act(observation, state)
            interval = sim.step(action)
            observation = interval.observation
            cost = cost - interval.reward.total.sum(-1)
        costs[name] = cost
    assert (costs["planner"] >= torch.tensor(best) - 1e-6).all()
    assert costs["planner"].sum() < costs["truthful"].sum()


def test_who_takes_what_the_grid_sells_runs_exactly_as_planned(town):
    sim = town.simulation()
    seen = Seen(sim.reset(days=_days(sim, 1), seed=5), sim.game)
    power_kw = seen.must_kw - seen.take_kw * 0.5  # at midnight nobody has sun
    assert (power_kw.sum((1, 2)) < -5).all()
    forced = as_planned(seen, power_kw, seen.forecast_kw, sim.game)
    decision = following(seen, power_kw, sim.game)
    assert torch.equal(decision.share, forced.share)
    assert torch.equal(decision.value, forced.value)


def test_who_covers_the_communitys_need_offers_all_at_the_middle(town):
    sim = town.simulation()
    seen = Seen(sim.reset(days=_days(sim, 1), seed=5), sim.game)
    active = seen.give_kw > 0.1
    assert active.any()
    decision = following(seen, seen.must_kw + seen.give_kw * 0.1, sim.game)
    middle = ((seen.retail + seen.feed_in) / 2).unsqueeze(-1).expand_as(active)
    ask = decision.value / sim.game.efficiency + sim.game.wear_price
    torch.testing.assert_close(ask[active], middle[active])
    assert (decision.share[active] == 1).all()
