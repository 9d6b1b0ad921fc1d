"""Flexible loads: runs found in the homes' load, done by their deadline, at the cheapest hours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SLOTS, play

from gridbazaar import envs
from gridbazaar.envs.data.appliances import appliance_runs
from gridbazaar.errors import ConfigError
from gridbazaar.evaluation.given_days import days_of
from gridbazaar.evaluation.optimum import Optimum

F64 = torch.float64
LOADS = ("+devices@task.devices.flexible_load=flexible_load",)
ALONE = (*LOADS, "~task.devices.storage", "~task.devices.vehicle")


def test_a_run_is_where_the_load_is_highest_above_the_days_median():
    load = np.random.default_rng(0).gamma(0.5, 1.0, (3 * SLOTS, 2)).astype(np.float32)
    runs = appliance_runs(load, 1.5, run_slots=8, between=(24, 88), slot_minutes=15)
    for day in range(3):
        for home in range(2):
            kw = load[day * SLOTS : (day + 1) * SLOTS, home].astype(float)
            above = np.minimum(np.maximum(kw - np.median(kw), 0), 1.5)
            energy = {begin: above[begin : begin + 8].sum() / 4 for begin in range(24, 81)}
            best = max(energy, key=energy.__getitem__)
            assert runs.begin[day, home] == day * SLOTS + best
            assert runs.energy_kwh[day, home] == pytest.approx(energy[best], rel=1e-5)
            drawn = runs.power_kw[day * SLOTS : (day + 1) * SLOTS, home]
            assert drawn.sum() / 4 == pytest.approx(energy[best], rel=1e-5)
            np.testing.assert_allclose(drawn[best : best + 8], above[best : best + 8], rtol=1e-5)
    assert (runs.power_kw <= load).all()


def test_what_appliances_want_is_taken_out_of_the_load(town):
    sim = town.simulation(*LOADS)
    with_loads, without = sim.community, town.simulation().community
    gone = (without.load_kw - with_loads.load_kw)[:-1]
    assert gone.min() >= 0
    units = sim.fleet.kinds["flexible_load"]
    wanted = units.need_kwh[:-1].sum(0)
    torch.testing.assert_close(gone[:, units.seat].sum(0) / 4, wanted, rtol=1e-4, atol=1e-3)
    assert (units.need_kwh[:-1] > 0).sum(0).tolist() == [len(gone) // SLOTS] * 32
    assert (units.need_kwh <= units.slots_left * units.import_kw * units.slot_h + 1e-6).all()


@pytest.mark.parametrize("eager", [True, False])
def test_a_run_is_done_by_its_deadline(town, eager):
    """At once where it takes at any price, as late as can be where it offers nothing."""
    sim = town.simulation(*LOADS, num_envs=4)
    units, entries = sim.fleet.kinds["flexible_load"], len(sim.game.layout.actions)

    def offers(observation):
        action = torch.full((*observation.shape[:2], entries), -1.0, dtype=F64)
        action[..., 1] = 0
        if eager:
            action[..., 2:-1] = 1
        return action

    ran, at = 0.0, 0.0
    for interval in play(sim, offers):
        assert interval.unserved_kwh.max() < 1e-4
        power = -interval.device_kw["flexible_load"]
        left = units.slots_left[sim.first_slot + sim.t - 1]
        ran, at = ran + power.sum(), at + (power * left).sum()
    assert ran > 0
    # Of a window of 32 slots.
    assert (at / ran > 25) if eager else (at / ran < 6)


def test_the_optimum_runs_appliances_in_their_cheapest_slots(town):
    """Without sun or storage, filling the cheapest slots of every run's window is best."""
    dark = replace(town.series, pv_per_kwp=np.zeros_like(town.series.pv_per_kwp))
    world = envs.world(overrides=(*ALONE, "tariff@task.tariff=german_day_ahead_2016"))
    sim = town.build(world, dark, num_envs=2, dtype=F64)
    sim.reset(seed=1)
    c, units, start = sim.community, sim.fleet.kinds["flexible_load"], sim.devices["flexible_load"]
    plans = [Optimum(c, 1.0).solve(day) for day in days_of(sim)]
    stays = 0
    for b, plan in enumerate(plans):
        row = sim.first_slot[b] + torch.arange(SLOTS)
        retail, later = c.prices.retail[row], c.prices.next_low[row[-1]].item()
        cost = float((c.load_kw[row].sum(-1) * retail).sum() / 4)
        for u in range(len(units.seat)):
            most = units.import_kw[u].item() / 4
            left = units.slots_left[row, u]
            missing = start.capacity_kwh[b, u] - start.energy_kwh[b, u]
            runs = [(0, int(left[0]), missing.item())] if missing > 0 else []
            for t in range(1, SLOTS):
                if units.need_kwh[row[t], u] > 0:
                    runs.append((t, int(left[t]), units.need_kwh[row[t], u].item()))
            for t, stay, energy in runs:
                offers = [(retail[s].item(), most) for s in range(t, min(t + stay, SLOTS))]
                if t + stay > SLOTS:
                    offers.append((later, most * (t + stay - SLOTS)))
                    stays += 1
                for price, kwh in sorted(offers):
                    taken = min(kwh, energy)
                    cost, energy = cost + price * taken, energy - taken
                assert energy < 1e-5
        assert plan.cost_eur == pytest.approx(cost, rel=1e-6)
    assert stays > 5


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("window_h=11", "window_h 11 must lie between run_h 2 and 10"),
        ("latest_h=7", "does not fit"),
    ],
)
def test_windows_that_cannot_be_are_refused(word, says):
    with pytest.raises(ConfigError, match=says):
        envs.world(overrides=(*LOADS, f"task.devices.flexible_load.{word}"))
