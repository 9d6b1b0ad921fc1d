"""What the feeder bears: limits priced, curtailed or prevented, with energy kept in all three."""

from __future__ import annotations

import pytest
import torch
from conftest import play, random_policy

from gridbazaar.envs.delivery import cut
from gridbazaar.envs.grid.limits import violations

# Roofs that the feeder cannot bear at noon.
CROWDED = (
    "task.ownership.pv_share=1",
    "task.ownership.pv_kwp_min=45",
    "task.ownership.pv_kwp_max=60",
)
actions = pytest.mark.parametrize("action", ["price", "curtail", "prevent"])


def crowded(town, action):
    return town.simulation(*CROWDED, f"task.rules.limits.action={action}")


def breaches(sim, interval):
    return violations(interval.delivered.solution, sim.delivery.limits)


def depth(breach):
    parts = (breach.under_pu * 100, breach.over_pu * 100, breach.line_percent, breach.trafo_percent)
    return sum(part.sum(-1) for part in parts)


def sunny_day(sim):
    return sim.community.days["train"][[8, 9]]


@actions
def test_energy_is_kept_and_devices_obey_whatever_is_cut(town, action):
    sim = crowded(town, action)
    c = sim.community
    for interval in play(sim, days=sunny_day(sim)):
        d = interval.delivered
        net = d.pv_kw - interval.load_kw + d.flexible_kw
        torch.testing.assert_close(d.net_kw, net, rtol=0, atol=1e-12)
        row = sim.first_slot + sim.t - 1
        through = d.solution.slack_kw + d.net_kw.sum(-1) + c.bus_p_kw[row].sum(-1)
        torch.testing.assert_close(through, d.solution.losses_kw, rtol=0, atol=1e-6)
        assert (d.pv_kw >= -1e-9).all()
        assert (d.pv_kw <= c.pv_kw[row] + 1e-9).all()
        assert (d.flexible_kw <= c.fleet.export_kw + 1e-9).all()
        assert (d.flexible_kw >= -c.fleet.import_kw - 1e-9).all()
        battery, held = c.fleet.kinds["storage"], interval.content_kwh["storage"]
        assert (held <= battery.ceiling * battery.capacity_kwh + 1e-9).all()
        assert (held >= battery.floor * battery.capacity_kwh - 1e-9).all()


def test_violations_are_priced_and_shared(town):
    sim = crowded(town, "price")
    rules, worst = sim.rules.limits, 0.0
    for interval in play(sim, days=sunny_day(sim)):
        breach = breaches(sim, interval)
        pu = (breach.over_pu + breach.under_pu).sum(-1)
        percent = breach.line_percent.sum(-1) + breach.trafo_percent.sum(-1)
        expected = (pu * rules.voltage_price + percent * rules.loading_price) * 0.25
        cost = interval.delivered.violation_eur
        torch.testing.assert_close(cost, expected)
        torch.testing.assert_close(interval.reward.violation.sum(-1), -cost)
        worst = max(worst, cost.max().item())
    assert worst > 0


def test_curtailment_takes_away_almost_all_violations(town):
    total, lost = {}, {}
    for action in ("price", "curtail"):
        sim = crowded(town, action)
        total[action] = lost[action] = 0.0
        for interval in play(sim, days=sunny_day(sim), seed=2):
            total[action] += depth(breaches(sim, interval)).sum().item()
            offered = sim.community.pv_kw[sim.first_slot + sim.t - 1]
            lost[action] += (offered - interval.delivered.pv_kw).sum().item()
    assert total["price"] > 100
    assert total["curtail"] < 0.01 * total["price"]
    assert lost["price"] == 0
    assert lost["curtail"] > 0


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.5), (-1.5, 1.5), (-1.5, -0.5)])
def test_an_envelope_prevents_every_violation(town, low, high):
    sim = crowded(town, "prevent")
    for interval in play(sim, random_policy(4, low, high), days=sunny_day(sim)):
        breach = breaches(sim, interval)
        assert not breach.broken(1e-5, 1e-2).any(), depth(breach)


def test_the_envelope_binds_orders_too(town):
    sim = crowded(town, "prevent")
    _, most = sim.delivery.envelope
    for interval in play(sim, random_policy(4, 0.5, 1.5), days=sunny_day(sim)):
        sells = interval.orders.quantity_kw.clamp(min=0)
        assert (sim.order_slots.owners.total(sells) <= most + 1e-9).all()


def test_within_limits_all_three_are_the_same(town):
    calm = [
        [i.reward.total for i in play(town.simulation(f"task.rules.limits.action={a}"), slots=30)]
        for a in ("price", "curtail")
    ]
    for priced, curtailed in zip(*calm, strict=True):
        assert torch.equal(priced, curtailed)


def test_a_cut_takes_discharging_before_the_sun_and_charging_alone_from_imports():
    pv, flexible = torch.tensor([[5.0, 5.0, 2.0]]), torch.tensor([[2.0, 2.0, -4.0]])
    export, taken = torch.tensor([[1.0, 4.0, 0.0]]), torch.tensor([[0.0, 0.0, 3.0]])
    pv, flexible = cut(pv, flexible, export, taken)
    assert pv.tolist() == [[5, 3, 2]]
    assert flexible.tolist() == [[1, 0, -1]]
