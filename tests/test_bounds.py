"""Every task: the checkers of its interfaces, and what seats see within its declared bounds."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from conftest import random_policy
from gymnasium.utils.env_checker import check_env
from one_seat import OneSeat
from pettingzoo.test import parallel_api_test

from gridbazaar import configs, envs
from gridbazaar.envs.bounds import observation_bounds
from gridbazaar.envs.build import assemble
from gridbazaar.envs.observation import OWN, PUBLIC
from gridbazaar.errors import ConfigError

# A user's own data: there is nothing to build it from.
TASKS = [task for task in configs.options("task") if not task.startswith("own_data")]
# Hundreds of seats, whose checkers take seconds each: `make test-all` plays them too.
LARGE = ("rural", "semiurb5", "urban6")
DAYS = 4


def bounds_of(sim):
    low, high = observation_bounds(sim.community, sim.rules, sim.disclosure)
    return torch.from_numpy(low), torch.from_numpy(high)


def days_of(sim):
    """Return days of all splits, evenly over the year."""
    days = torch.cat(list(sim.community.days.values())).sort().values
    return days[torch.linspace(0, len(days) - 1, sim.num_envs).long()]


def outside(values, low, high, names):
    wrong = ((values < low) | (values > high)).flatten(0, -2).any(0)
    return [name for name, bad in zip(names, wrong.tolist(), strict=True) if bad]


def check_data(community, low, high):
    """Check what follows from data alone, all slots of the year and all seats."""
    layout = community.layout
    names = [feature.name for feature in layout.features]
    schedule = [
        f.name + (f"_{k + 1}" if k else "") for k in range(layout.slots) for f in layout.schedule
    ]
    parts = {
        "public": [feature.name for feature in PUBLIC],
        "own": [*(feature.name for feature in OWN), *schedule],
    }
    for table, shown in parts.items():
        at = [names.index(name) for name in shown]
        values = getattr(community, table).float()
        assert not outside(values, low[at], high[at], shown)
    # The bounds are those of the data, and no wider.
    for feature, metered in (
        ("forecast_load", community.load_kw),
        ("forecast_pv", community.pv_kw),
    ):
        i = names.index(feature)
        assert high[i] / layout.features[i].scale == pytest.approx(float(metered.max()), rel=1e-2)


def check_days(sim, low, high, seed=0):
    layout = sim.game.layout
    names = [feature.name for feature in layout.features]
    policy = random_policy(seed, entries=len(layout.actions))
    observation = sim.reset(days_of(sim), seed)
    for _ in range(sim.slots):
        assert not outside(observation.float(), low, high, names)
        observation = sim.step(policy(observation)).observation
    assert not outside(observation.float(), low, high, names)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(task, marks=pytest.mark.long if task.startswith(LARGE) else ())
        for task in TASKS
    ],
)
def of_task(request):
    """Each task's world and some of its markets, built once for all tests of it."""
    if configs.compose("world", [f"task={request.param}"])["task"]["data"]["source"] == "simbench":
        pytest.importorskip("simbench", reason="needs the extra simbench")
    world = envs.world(request.param, ledger="block")
    return world, envs.build(world, DAYS, "train", 0)


def test_pettingzoos_and_gymnasiums_checkers_pass(of_task):
    world, sim = of_task
    one = assemble(world, sim.community, sim.delivery, 1, "train", None)
    with mock.patch("gridbazaar.envs.market_env.build", return_value=one):
        env = envs.MarketEnv(world)
    parallel_api_test(env, num_cycles=3)
    check_env(OneSeat(env), skip_render_check=True)


def test_observations_lie_within_their_bounds_over_the_year(of_task):
    _, sim = of_task
    low, high = bounds_of(sim)
    assert (low < high).all()
    assert low.isfinite().all()
    assert high.isfinite().all()
    check_data(sim.community, low, high)
    check_days(sim, low, high)


@pytest.mark.parametrize(
    "words",
    [
        ("task.rules.forecast_spread=0.3",),
        ("task.rules.quantity=metered", "task.rules.firming=none"),
        ("task.rules.dispatch=own", "task.rules.firming=none"),
        ("task.rules.imbalance=grid", "task.rules.firming=own"),
        ("task.devices.vehicle.v2g=true",),
        ("task.rules.limits.action=curtail",),
    ],
    ids=lambda words: words[0].rpartition(".")[2],
)
def test_they_do_under_other_rules(town, words):
    sim = town.simulation(*words, ledger="block", dtype=torch.float32)
    check_days(sim, *bounds_of(sim), seed=1)


def test_they_do_where_volumes_are_published_with_noise(town):
    layered = ("+ledger.layers=[{name:noise,epsilon:0.1,sensitivity:5.0}]",)
    sim = town.simulation(*layered, ledger="block", dtype=torch.float32)
    assert sim.disclosure.epsilon == 0.1
    check_days(sim, *bounds_of(sim))


def test_a_value_beyond_the_bounds_is_found(town):
    sim = town.simulation(dtype=torch.float32)
    low, high = bounds_of(sim)
    names = [feature.name for feature in sim.game.layout.features]
    seen = sim.reset(seed=0)
    for i, name in enumerate(names):
        beyond = seen.clone()
        beyond[0, 0, i] = high[i] + 1e-3 * (1 + high[i].abs())
        assert outside(beyond, low, high, names) == [name]


def test_a_kind_without_bounds_of_what_it_shows_is_named(town, monkeypatch):
    sim = town.simulation(dtype=torch.float32)
    vehicle = sim.fleet.kinds["vehicle"]
    monkeypatch.setattr(type(vehicle), "bounds", lambda self: {})
    monkeypatch.setattr("gridbazaar.envs.bounds.DEVICE", ())
    monkeypatch.setattr(type(sim.fleet.kinds["storage"]), "bounds", lambda self: {})
    with pytest.raises(ConfigError, match=r"no bounds for what devices show as soc, energy_kwh"):
        bounds_of(sim)
