"""Heat pumps: the building is a store that leaks, its band is kept, and its heat is the data's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SLOTS, play, random_policy
from scipy.optimize import linprog

from gridbazaar import envs
from gridbazaar.envs.devices.heat_pump import HeatPump, Warmth, demand
from gridbazaar.envs.grid import load_net
from gridbazaar.envs.placement import seat_on
from gridbazaar.errors import ConfigError, DataError
from gridbazaar.evaluation.given_days import days_of
from gridbazaar.evaluation.optimum import Optimum

F64 = torch.float64
HEAT = ("+devices@task.devices.heat_pump=heat_pump",)
ALONE = (*HEAT, "~task.devices.storage", "~task.devices.vehicle")


@pytest.fixture(scope="module")
def winter(town):
    """The month's series with pumps that run most of the time, as on cold days, and no sun."""
    pumps = town.series.heat_pumps
    draw = np.random.default_rng(0).random(pumps.power_kw.shape)
    power = np.asarray((draw < 0.7) * pumps.rated_kw, np.float32)
    dark = np.zeros_like(town.series.pv_per_kwp)
    return replace(town.series, heat_pumps=replace(pumps, power_kw=power), pv_per_kwp=dark)


def build(town, series, *words, num_envs=2):
    world = envs.world(overrides=words)
    return town.build(world, series, num_envs=num_envs, dtype=F64)


def test_content_is_the_temperature_of_a_building_with_one_thermal_mass():
    """C dT/dt = COP P - UA (T - T_out), in degrees and kWh of heat, step by step."""
    rng = np.random.default_rng(1)
    cop, loss, mass, low, band, rated = 3.1, 0.2, 11.0, 20.0, 2.0, 3.0  # UA in kW/K, C in kWh/K
    outside = rng.uniform(-5, 15, 200)
    of = torch.ones(1, dtype=F64)
    h, hold = 0.25, loss * (low - outside) / cop
    pump = HeatPump(
        seat=torch.tensor([0]),
        import_kw=of * rated,
        export_kw=of * 0,
        efficiency=of,
        wear_price=of * 0,
        slot_h=h,
        floor=of * 0,
        ceiling=of,
        capacity_kwh=of * mass * band / cop,
        kept=of * (1 - h * loss / mass),
        demand_kw=torch.as_tensor(hold)[:, None],
    )
    inside, state = low + 1.0, Warmth(of[None] * mass / cop, of[None] * hold[0] * h)
    reached = []
    for t, cold in enumerate(outside):
        state = pump.arrive(state, torch.tensor([t]))
        request = torch.full((1, 1), -rated * rng.random() * (t > 100), dtype=F64)
        power = -pump.band(state).nearest(request).item()
        inside += (cop * power - loss * (inside - cold)) * h / mass
        state = pump.advance(state, torch.tensor([[-power]], dtype=F64))
        assert state.energy_kwh.item() == pytest.approx(mass * (inside - low) / cop)
        assert low - 1e-9 <= inside <= low + band + 1e-9
        reached.append(inside)
    assert min(reached) == pytest.approx(low)
    assert max(reached) == pytest.approx(low + band)


def test_the_demand_is_what_pumps_drew_a_day_before():
    power = np.random.default_rng(2).random((4 * SLOTS, 3)).astype(np.float32)
    found = demand(power, 0.25)
    for t in range(2 * SLOTS, 4 * SLOTS):
        before = power[t - SLOTS - 16 : t - SLOTS]
        np.testing.assert_allclose(found[t], before.mean(0), rtol=1e-5)
    later = power.copy()
    later[3 * SLOTS :] = 9.0
    np.testing.assert_array_equal(found, demand(later, 0.25))
    assert found.mean() == pytest.approx(power.mean(), rel=0.05)


@pytest.mark.parametrize("offers", ["nothing", "anything"])
def test_the_comfort_band_is_kept_whatever_is_offered(town, winter, offers):
    sim = build(town, winter, *HEAT, num_envs=3)
    pump, entries = sim.fleet.kinds["heat_pump"], len(sim.game.layout.actions)

    def silent(observation):
        return torch.full((*observation.shape[:2], entries), -1.0, dtype=F64)

    coldest, warmest, used = [], [], 0.0
    for interval in play(sim, silent if offers == "nothing" else random_policy(5, entries=entries)):
        held = interval.content_kwh["heat_pump"]
        coldest.append(held.min().item())
        warmest.append((held / pump.capacity_kwh).max().item())
        used -= interval.device_kw["heat_pump"].sum().item()
        assert interval.unserved_kwh.sum() < 1e-4
    assert min(coldest) >= -1e-9
    assert max(warmest) <= 1 + 1e-9
    assert used > 0
    if offers == "nothing":
        assert min(coldest) == pytest.approx(0, abs=1e-9)


def test_what_a_feeder_cuts_cools_the_building_and_is_made_up_for(town, winter):
    """Below the band everything that the pump can do is what it must do."""
    sim = build(town, winter, *HEAT)
    pump, row = sim.fleet.kinds["heat_pump"], sim.community.days["train"][2:4]
    state = pump.begin(row, torch.zeros(2, len(pump.seat), dtype=F64))
    cold = pump.advance(state, torch.zeros_like(state.energy_kwh))
    assert cold.energy_kwh.max() < 0
    cold = pump.arrive(cold, row + 1)
    band = pump.band(cold)
    lacks = (cold.drawn_kwh - cold.energy_kwh * pump.kept) / pump.slot_h
    torch.testing.assert_close(-band.must_kw, torch.minimum(lacks, pump.import_kw))
    slots = row[:, None] + 1 + torch.arange(SLOTS - 1)
    profile = pump.profile(cold, slots, sim.community.prices.__class__(*[row[:, None] * 0.0] * 5))
    assert profile.floor_kwh[..., 0].min() < 0
    assert profile.floor_kwh[..., -1].max() == 0
    seen = pump.observe(cold._replace(energy_kwh=cold.energy_kwh - 1e6))
    for name, (least, most) in pump.bounds().items():
        assert seen[name].min() >= least
        assert seen[name].max() <= most


def test_pumps_leave_the_background_and_nothing_else_does(town):
    with_pumps, without = (build(town, town.series, *words).community for words in (HEAT, ()))
    pumps = town.series.heat_pumps
    T = len(pumps.power_kw)
    gone = with_pumps.bus_p_kw[:T].sum(-1) - without.bus_p_kw[:T].sum(-1)
    torch.testing.assert_close(
        gone, torch.as_tensor(pumps.power_kw.sum(1)).to(F64), rtol=1e-4, atol=1e-4
    )
    assert with_pumps.fleet.kinds["heat_pump"].seat.unique().numel() == len(pumps.bus)
    # Three stand where no home is.
    assert with_pumps.roles[-1] == "heat_pump"
    assert [s for s in with_pumps.seats if s not in without.seats] == [
        f"heat_pump_{i}" for i in range(3)
    ]


def test_the_optimum_warms_buildings_as_a_program_of_each_building_does(town, winter):
    """Without sun or storage every pump buys from the grid, and buildings are apart."""
    sim = build(town, winter, *ALONE, "tariff@task.tariff=german_day_ahead_2016")
    sim.reset(seed=3)
    c, pump, T, h = sim.community, sim.fleet.kinds["heat_pump"], sim.slots, 0.25
    state, days = sim.devices["heat_pump"], days_of(sim)
    plans = [Optimum(c, 1.0).solve(day) for day in days]
    assert len(pump.seat) == 10
    for b, plan in enumerate(plans):
        row = sim.first_slot[b] + torch.arange(T)
        retail, worth = c.prices.retail[row].numpy(), c.prices.stored_worth[row[-1]].item()
        cost = float((c.load_kw[row].sum(-1) * c.prices.retail[row]).sum() * h)
        for u in range(len(pump.seat)):
            kept, full = pump.kept[u].item(), pump.capacity_kwh[u].item()
            drawn = pump.demand_kw[row, u].numpy() * h
            start = state.energy_kwh[b, u].item()
            # Content after each slot is linear in the power of the slots until then.
            left = np.tril(kept ** (np.arange(T)[:, None] - np.arange(T)).clip(0))
            idle = kept ** np.arange(1, T + 1) * start - left @ drawn
            solved = linprog(
                retail * h - worth * left[-1] * h,
                A_ub=np.concatenate([left * h, -left * h]),
                b_ub=np.concatenate([full - idle, idle]),
                bounds=(0, pump.import_kw[u].item()),
            )
            cost += solved.fun - worth * (idle[-1] - start)
        assert plan.cost_eur == pytest.approx(cost, rel=1e-7)


def test_data_without_heat_pumps_are_refused_in_one_line(town):
    assert seat_on(load_net("pandapower", "cigre_lv"), town.series).heat_pumps is None
    with pytest.raises(DataError, match="task's data have no heat pumps") as caught:
        build(town, replace(town.series, heat_pumps=None), *HEAT)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ConfigError, match=r"heat_pump.time_constant_h"):
        envs.world(overrides=(*HEAT, "task.devices.heat_pump.time_constant_h=0"))
