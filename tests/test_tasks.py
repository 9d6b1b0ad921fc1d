"""Tasks: each composes, those at hand play a day, and a user's own files become one."""

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

from gridbazaar import configs, envs
from gridbazaar.agents.bidders.protocol import make as make_bidder
from gridbazaar.envs.build import place_community
from gridbazaar.envs.data.simbench import load_grid
from gridbazaar.envs.data.simbench_series import series_from_grid
from gridbazaar.envs.grid import load_net
from gridbazaar.envs.placement import load_grid_and_series, seat_on
from gridbazaar.errors import ConfigError, DataError, UnknownNameError

SHARED = Path(__file__).parents[2] / "shared" / "data"
TASKS = configs.options("task")
CODE = "1-LV-semiurb4--2-sw"


def play(sim):
    """Play a day with random actions; return the intervals."""
    generator = torch.Generator().manual_seed(0)
    sim.reset()
    shape = (sim.num_envs, sim.num_seats, len(sim.game.layout.actions))
    return [sim.step(torch.rand(shape, generator=generator) * 2 - 1) for _ in range(sim.slots)]


def check_day(intervals):
    for interval in intervals:
        assert interval.delivered.solution.converged.all()
        assert interval.reward.total.isfinite().all()
        assert interval.observation.isfinite().all()
    assert intervals[-1].done


@pytest.mark.parametrize("task", TASKS)
def test_every_task_composes_under_its_own_name(task):
    config = envs.world(task).task
    assert config.name == task
    assert config.description
    assert envs.world(task.rpartition("-v")[0]) == envs.world(task)


def test_only_tasks_are_listed():
    assert "semiurb4-v1" in TASKS
    assert not [name for name in TASKS if name.startswith("_")]


@pytest.mark.parametrize(
    "task", ["case33bw", "cigre_lv", "congested", "kerber", "rural1", "small", "stressed"]
)
def test_a_day_on_another_feeder(task):
    if task == "rural1":
        pytest.importorskip("simbench", reason="needs the extra simbench")
    sim = envs.batched(task, num_envs=2)
    check_day(play(sim))
    assert sim.community.currency == "EUR"


def test_the_small_task_has_few_seats_of_every_role():
    sim = envs.batched("small", num_envs=1)
    assert sim.num_seats == 9
    assert set(sim.community.roles) == {"prosumer", "storage", "ev", "consumer"}
    assert all(len(sim.community.seats_of(role)) for role in sim.community.roles)


def test_the_stressed_tasks_limits_bind_in_a_tenth_of_all_intervals_under_truthful():
    days = envs.batched("stressed", num_envs=1).community.days["test"]
    sim = envs.batched("stressed", num_envs=len(days), split="test")
    bidder, observation = make_bidder("truthful", sim.game), sim.reset(days=days, seed=0)
    broken = 0.0
    for _ in range(sim.slots):
        interval = sim.step(bidder.act(observation, None)[0])
        observation = interval.observation
        broken += (interval.delivered.violation_eur > 0).double().mean().item() / sim.slots
    assert broken > 0.1


def test_on_the_congested_task_a_market_that_knows_the_feeder_breaks_less():
    costs = {}
    for market in ("uniform_auction", "operating_envelope"):
        sim = envs.batched("congested", market=market, num_envs=2, split="test")
        days = sim.community.days["test"][[40, 60]]
        bidder, observation = make_bidder("truthful", sim.game), sim.reset(days=days, seed=0)
        cost = 0.0
        for _ in range(sim.slots):
            interval = sim.step(bidder.act(observation, None)[0])
            observation = interval.observation
            cost = cost + interval.delivered.violation_eur
        costs[market] = cost
    assert (costs["uniform_auction"] > 1).all()
    assert (costs["operating_envelope"] < costs["uniform_auction"] / 2).all()


def test_community_batteries_stand_where_the_task_says():
    net = load_net("pandapower", "kerber_landnetz_kabel_2")
    weight = (
        net.line.length_km * np.hypot(net.line.r_ohm_per_km, net.line.x_ohm_per_km)
    ).to_numpy()
    lines = nx.Graph()
    ends = zip(net.line.from_bus, net.line.to_bus, weight, strict=True)
    lines.add_weighted_edges_from(ends)
    ohm = nx.single_source_dijkstra_path_length(lines, net.trafo.lv_bus.iloc[0])
    far = max(net.load.bus, key=ohm.__getitem__)
    for site, bus in (("busbar", net.trafo.lv_bus.iloc[0]), ("end", far)):
        world = envs.world("congested", overrides=(f"task.ownership.community_site={site}",))
        _, series = load_grid_and_series(world.task)
        community, _ = place_community(world.task, net, series)
        shared = community.seats_of("storage")
        injections = np.unique([*series.home_bus, *series.background_bus, bus])
        assert (injections[community.bus[shared]] == bus).all()


@pytest.mark.parametrize(
    ("task", "least", "most"),
    [("semiurb4_german", 0.05, 0.10), ("semiurb4", 0.06, 0.20), ("semiurb4_wide", 0.19, 0.20)],
)
def test_prices_spread_within_a_day_as_the_task_says(task, least, most):
    sim = envs.batched(task, num_envs=1)
    retail = sim.community.prices.retail[:-1].view(-1, sim.slots)
    spread = (retail.amax(1) - retail.amin(1)).mean().item()
    assert least < spread < most


def test_the_first_homes_and_chargers_of_a_grid_are_those_of_the_whole():
    whole = series_from_grid(*load_grid(CODE), 0)
    part = whole.first(5, 2)
    np.testing.assert_array_equal(part.load_kw, whole.load_kw[:, :5])
    assert part.home_names == whole.home_names[:5]
    assert part.sessions.charger_names == whole.sessions.charger_names[:2]
    mine = whole.sessions.charger < 2
    assert part.sessions.energy_kwh.sum() == whole.sessions.energy_kwh[mine].sum()
    same = whole.first(None, None)
    np.testing.assert_array_equal(same.sessions.arrival, whole.sessions.arrival)
    assert same.home_names == whole.home_names
    with pytest.raises(DataError, match="chargers is 8, but the grid has 7"):
        whole.first(None, 8)


@pytest.mark.parametrize("code", ["case33bw", "cigre_lv", "kerber_dorfnetz"])
def test_homes_and_background_make_up_the_load_of_each_bus(code):
    net, plain = load_net("pandapower", code), series_from_grid(*load_grid(CODE), 0)
    series = seat_on(net, plain)
    rated_kw = net.load.groupby("bus").p_mw.sum() * 1e3
    assert set(series.home_bus) <= set(rated_kw.index)
    homes_kw = dict.fromkeys(rated_kw.index, 0.0)
    for bus, peak in zip(series.home_bus, series.load_kw.max(axis=0), strict=True):
        homes_kw[bus] += peak
    background_kw = dict(
        zip(series.background_bus, -series.background_p_kw.min(axis=0), strict=True)
    )
    for bus, rated in rated_kw.items():
        left = max(rated - homes_kw[bus], 0)
        assert background_kw.get(bus, 0) == pytest.approx(left, rel=1e-5, abs=1e-3)
    assert (series.background_p_kw <= 0).all()
    np.testing.assert_array_equal(series.load_kw, plain.load_kw)


@pytest.mark.parametrize(
    ("task", "overrides", "error", "says"),
    [
        ("semiurb4-v2", (), ConfigError, "did you mean 'semiurb4-v1'"),
        ("case33bw", ("task.feeder.code=case33",), UnknownNameError, "did you mean 'case33bw'"),
        ("rural1", ("task.data.code=1-LV-rurl1--2-sw",), UnknownNameError, "1-LV-rural1--2-sw"),
        ("own_data", (), DataError, "names no home"),
    ],
)
def test_unknown_tasks_and_grids_are_told_in_one_line(task, overrides, error, says):
    with pytest.raises(error, match=says) as caught:
        envs.batched(task, overrides=overrides, num_envs=1)
    assert len(str(caught.value).splitlines()) == 1


def shared(*parts):
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {path.name} beside the checkout")
    return str(path)


def given(key, value):
    """Return the override that gives `key` a JSON value; Hydra reads unquoted keys alone."""
    if isinstance(value, dict):
        inner = ", ".join(given(k, v).replace("=", ": ", 1) for k, v in value.items())
        return f"{key}={{{inner}}}"
    return f"{key}={json.dumps(value)}"


def own_data(load, start, days, *words):
    data = {"start": start, "days": days}
    words = (*(given(f"task.data.{key}", value) for key, value in data.items()), *words)
    columns = load.pop("columns")
    words += tuple(given(f"task.data.load.{key}", value) for key, value in load.items())
    return envs.batched(
        "own_data", overrides=(*words, given("+task.data.load.columns", columns)), num_envs=2
    )


NORWAY = ("user_id", "plugin_time", "plugout_time", "energy_session", "Europe/Oslo", True)
ACN = ("station_id", "arrival", "departure", "delivered_kwh", "America/Los_Angeles", False)
KEYS = ("charger", "arrival", "departure", "energy_kwh", "time_zone", "drop_incomplete")


@pytest.mark.parametrize(
    ("cars", "columns", "charger"),
    [
        ("norway_residential_sessions", NORWAY, "ASK_Plass15"),
        ("acn_caltech_jpl_sessions", ACN, "CA-305"),
    ],
)
def test_homes_sun_cars_and_exchange_prices_of_files(tmp_path, cars, columns, charger):
    """The homes' year is moved by 156 weeks, weekdays kept, to where cars and prices have data."""
    home = pd.read_parquet(shared("households", "fontana_ca_17_homes_hourly.parquet"))
    moved = tmp_path / "homes.parquet"
    home.set_axis(home.index + pd.Timedelta(weeks=156), axis=0).to_parquet(moved)
    names = [f"home_{i:02d}" for i in range(1, 15)]
    file = {"path": str(moved), "time_column": None, "time_zone": None, "unit": "kWh"}
    price = {
        "path": shared("prices", "epex_de_day_ahead_hourly_2015_2024.parquet"),
        "time_column": None,
        "time_zone": "Europe/Berlin",
        "column": "price_eur_per_mwh",
        "unit": "per_mwh",
    }
    tariff = {"kind": "day_ahead", "name": "exchange", "currency": "EUR", "source": "EPEX"}
    tariff |= {"price": price, "adders": 0.15, "network": 0.09, "vat": 0.19, "feed_in": 0.05}
    sessions = {"path": shared("ev", f"{cars}.parquet"), "chargers": [charger]}
    sessions |= dict(zip(KEYS, columns, strict=True)) | {"max_power_kw": 22.0}
    sun = file | {"columns": {n: f"{n}_pv_kwh" for n in names}, "kwp": "peak"}
    sim = own_data(
        file | {"columns": {n: f"{n}_load_kwh" for n in names}},
        "2019-09-01",
        60,
        given("task.data.pv", sun),
        given("task.data.sessions", sessions),
        "~task.tariff",
        given("+task.tariff", tariff | {"local_network_share": 0.43}),
    )
    community = sim.community
    check_day(play(sim))
    assert len(community.seats_of("ev")) == 1
    assert community.fleet.kinds["vehicle"].need_kwh.sum() > 10
    assert community.pv_kw.max() > 1
    assert community.prices.retail.unique().numel() > 100
    kwh = home.filter(like="load").iloc[:, :14]["2016-09-04":"2016-11-02"].to_numpy().sum()
    assert community.load_kw[:-1].sum().item() / 4 == pytest.approx(kwh, rel=1e-4)


def test_an_australian_home_pays_in_its_own_money():
    path = shared("ausgrid", "ausgrid_customer_12_2011_2012_30min.parquet")
    file = {"path": path, "time_column": None, "time_zone": None, "unit": "kW"}
    sun = file | {"columns": {"twelve": "gross_generation"}, "kwp": {"twelve": 1.04}}
    sim = own_data(
        file | {"columns": {"twelve": "general_consumption"}},
        "2011-07-01",
        90,
        "tariff@task.tariff=ce_sdt_nsw",
        given("task.data.pv", sun),
    )
    check_day(play(sim))
    assert sim.community.currency == "AUD"
