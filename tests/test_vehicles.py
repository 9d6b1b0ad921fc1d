"""Cars at charging points over whole days: what they want, get, miss, lend and leave wanting."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import SLOTS, play

from gridbazaar import envs
from gridbazaar.agents.bidders import make

SETTINGS = {
    "one way": (),
    "lossy": ("task.devices.vehicle.round_trip_efficiency=0.64",),
    "v2g": ("task.devices.vehicle.v2g=true",),
}
every_setting = pytest.mark.parametrize("setting", SETTINGS)


def cars_that(take=0.0, give=0.0):
    """All devices offer a share of what they can take at the grid's, or give at any, price."""

    def act(observation):
        action = torch.full((*observation.shape[:2], 6), -1.0, dtype=observation.dtype)
        action[..., 2] = 1.0 if take else -1.0
        action[..., 4] = (take or give) * 2 - 1
        return action

    return act


@every_setting
def test_no_car_wants_more_than_its_charger_can_give(town, setting):
    cars = town.simulation(*SETTINGS[setting]).fleet.kinds["vehicle"]
    storable = cars.import_kw * cars.efficiency * cars.slot_h
    assert (cars.need_kwh > 0).any()
    assert (cars.need_kwh <= cars.slots_left * storable * (1 + 1e-6)).all()


@every_setting
def test_a_car_that_charges_all_the_time_misses_nothing(town, setting):
    sim = town.simulation(*SETTINGS[setting], num_envs=6)
    for interval in play(sim, cars_that(take=1.0)):
        assert interval.unserved_kwh.max() < 1e-4


@every_setting
def test_a_car_that_offers_nothing_is_charged_when_its_deadline_binds(town, setting):
    """It takes exactly what it must, in the last slots of its stay."""
    sim = town.simulation(*SETTINGS[setting], num_envs=6)
    cars, waited = sim.fleet.kinds["vehicle"], 0
    for interval in play(sim, cars_that()):
        assert interval.unserved_kwh.max() < 1e-4
        power = interval.device_kw["vehicle"]
        assert (power <= 0).all()
        left = cars.slots_left[sim.first_slot + sim.t - 1]
        content, full = interval.content_kwh["vehicle"], cars.session_kwh + cars.lent_kwh
        lacking = full[sim.first_slot + sim.t - 1] - content
        later = (left - 1).clamp(min=0) * cars.import_kw * cars.efficiency * cars.slot_h
        charged = power < -1e-6
        torch.testing.assert_close(lacking[charged], later[charged], rtol=0, atol=1e-4)
        waited += int((left[~charged] > 1).sum())
    assert waited > 100


def test_what_a_departing_car_misses_is_paid_for(town, monkeypatch):
    """A feeder that bears next to nothing cuts the charging."""
    sim = town.simulation("task.rules.limits.action=curtail", num_envs=6)
    limits = sim.delivery.limits
    low = replace(limits, line_percent=torch.full_like(limits.line_percent, 0.1))
    monkeypatch.setattr(sim.delivery, "limits", low)
    price, missed, cars = sim.rules.unserved_price, 0.0, sim.fleet.kinds["vehicle"]
    for interval in play(sim, cars_that()):
        leaving = torch.zeros_like(interval.unserved_kwh, dtype=torch.bool)
        leaving[:, cars.seat] = cars.slots_left[sim.first_slot + sim.t - 1] == 1
        assert (interval.unserved_kwh[~leaving] == 0).all()
        torch.testing.assert_close(interval.reward.unserved, -price * interval.unserved_kwh)
        missed += interval.unserved_kwh.sum().item()
    assert missed > 1


@pytest.mark.parametrize("setting", ["one way", "lossy"])
def test_without_v2g_no_car_feeds_back(town, setting):
    sim = town.simulation(*SETTINGS[setting])
    for interval in play(sim, cars_that(give=1.0)):
        assert (interval.device_kw["vehicle"] <= 0).all()


def test_with_v2g_cars_feed_back_but_never_below_empty(town):
    sim = town.simulation("task.devices.vehicle.v2g=true", num_envs=6)
    given = worn = 0.0
    cars = sim.fleet.kinds["vehicle"]
    for interval in play(sim, cars_that(give=1.0)):
        assert (interval.content_kwh["vehicle"] >= -1e-9).all()
        out = interval.device_kw["vehicle"].clamp(min=0).sum() * 0.25
        wear = interval.reward.wear[:, cars.seat].sum()
        torch.testing.assert_close(wear, -out * cars.wear_price.max())
        given += out.item()
        worn -= wear.item()
    assert given > 1
    assert worn > 0


def test_nothing_is_left_of_a_car_that_has_left(town):
    sim = town.simulation(num_envs=6)
    for _ in play(sim):
        if sim.t == SLOTS:
            break
        cars, state = sim.fleet.kinds["vehicle"], sim.devices["vehicle"]
        gone = cars.slots_left[sim.first_slot + sim.t] == 0
        assert (state.energy_kwh[gone] == 0).all()
        assert (state.capacity_kwh[gone] == 0).all()
        waiting = cars.session_kwh[sim.first_slot + sim.t] > 0
        assert (state.capacity_kwh[waiting] > 0).all()


def test_a_car_still_plugged_at_the_days_end_is_valued_at_what_it_lacks(town):
    idle, keen = (
        list(play(town.simulation(num_envs=6), cars_that(take=value)))[-1] for value in (0.0, 1.0)
    )
    cars = town.simulation(num_envs=6).community.seats_of("ev")
    assert (idle.reward.stored[:, cars] <= keen.reward.stored[:, cars] + 1e-9).all()
    assert idle.reward.stored[:, cars].sum() < 0


def test_a_car_there_at_the_days_start_lacks_what_its_charger_can_still_give(town):
    world = envs.world(overrides=SETTINGS["lossy"])
    sim = town.build(world, num_envs=32, dtype=torch.float64)
    sim.reset(seed=1)
    cars, state = sim.fleet.kinds["vehicle"], sim.devices["vehicle"]
    lacking = state.capacity_kwh - state.energy_kwh
    left = cars.slots_left[sim.first_slot]
    most = left * cars.import_kw * cars.efficiency * cars.slot_h
    assert lacking.max() > 0
    assert (lacking <= most + 1e-9).all()


def test_a_community_without_chargers_plays_too(town):
    s = town.series.sessions
    none = replace(
        s,
        charger_names=(),
        charger_bus=s.charger_bus[:0],
        max_power_kw=s.max_power_kw[:0],
        charger=s.charger[:0],
        arrival=s.arrival[:0],
        departure=s.departure[:0],
        energy_kwh=s.energy_kwh[:0],
    )
    sim = town.build(envs.world(), replace(town.series, sessions=none))
    assert len(sim.community.seats_of("ev")) == 0
    assert all(i.reward.total.isfinite().all() for i in play(sim, slots=20))


@pytest.mark.parametrize("bidder", ["truthful", "tariff_rule", "mpc", "community_mpc", "zip"])
def test_bidders_feed_back_what_drivers_lend(town, bidder):
    """Cars are the only storage and leave full; where bidders price them alike, all pay less."""
    cost, fed = {}, {}
    for v2g in (True, False):
        world = envs.world("semiurb4_v2g", overrides=(f"task.devices.vehicle.v2g={v2g}",))
        sim = town.build(world, num_envs=4, dtype=torch.float64)
        act, state, seen = make(bidder, sim.game), None, sim.reset(seed=3)
        cost[v2g], fed[v2g] = 0.0, 0.0
        for _ in range(SLOTS):
            action, state = act.act(seen, state)
            interval = sim.step(action)
            seen = interval.observation
            fed[v2g] += interval.device_kw["vehicle"].clamp(min=0).sum().item()
            cost[v2g] -= interval.reward.total.sum().item()
            assert interval.unserved_kwh.max() < 1e-4
    assert fed[True] > 1
    assert fed[False] == 0
    # ZIP haggles for a margin, and MPC plans each car by itself.
    if bidder in ("truthful", "tariff_rule", "community_mpc"):
        assert cost[True] < cost[False]
