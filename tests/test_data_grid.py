"""The embedded grid, its series, sessions, ownership and calendar."""

import gzip
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from gridbazaar.envs.data import calendar, simbench
from gridbazaar.envs.data.dwell import DWELL_H, PERCENTILES, draw_dwell_slots
from gridbazaar.envs.data.ownership import OwnershipConfig, draw_ownership
from gridbazaar.envs.data.sessions import (
    Sessions,
    charging_runs,
    sessions_from_profiles,
)
from gridbazaar.envs.data.simbench import FOLDER, load_grid
from gridbazaar.envs.data.simbench_series import series_from_grid
from gridbazaar.errors import DataError, UnknownNameError

CODE = "1-LV-semiurb4--2-sw"
SHARED = Path(__file__).parents[2] / "shared" / "data"
RULE = {
    "pv_share": 0.5,
    "battery_share": 0.5,
    "pv_kwp_per_mwh": 1.0,
    "pv_kwp_min": 3.0,
    "pv_kwp_max": 10.0,
    "battery_kwh_per_kwp": 1.0,
    "battery_c_rate": 0.5,
    "community_batteries": 2,
    "community_kwh_per_kwp": 1.0,
    "community_c_rate": 0.5,
}


@pytest.fixture(scope="module")
def grid():
    return load_grid(CODE)


@pytest.fixture(scope="module")
def series(grid):
    return series_from_grid(*grid, seed=0)


def same_sessions(a, b):
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def test_default_grid_loads_in_three_seconds():
    simbench._read.cache_clear()
    begin = time.process_time()
    series = series_from_grid(*load_grid(CODE), seed=0)
    assert time.process_time() - begin < 3
    assert series.num_days == 366
    assert len(series.home_names) == 32
    assert len(series.sessions.charger_names) == 7


def test_a_grid_that_is_recalled_is_nobody_elses():
    net, profiles = load_grid(CODE)
    kept = net.load.p_mw.copy(), profiles.copy()
    net.load["p_mw"] = 1e3
    profiles.iloc[:] = -1.0
    net, profiles = load_grid(CODE)
    pd.testing.assert_series_equal(net.load.p_mw, kept[0])
    pd.testing.assert_frame_equal(profiles, kept[1])


def test_notice_names_licence_source_and_citation():
    notice = (FOLDER / "NOTICE.md").read_text(encoding="utf-8")
    for word in ("Open Database", "ODbL) 1.0", "DbCL", "13(12), 3290", CODE):
        assert word in notice
    assert "odbl" in (FOLDER / "LICENSE.txt").read_text(encoding="utf-8")


def test_extract_rebuilds_the_embedded_bytes(tmp_path):
    pytest.importorskip("simbench")
    from gridbazaar.envs.data.simbench_extract import extract

    extract(CODE, tmp_path)
    net = f"{CODE}.net.json.gz"
    assert gzip.decompress((tmp_path / net).read_bytes()) == gzip.decompress(
        (FOLDER / net).read_bytes()
    )
    profiles = f"{CODE}.profiles.parquet"
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / profiles), pd.read_parquet(FOLDER / profiles)
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [net, profiles]


def test_unknown_grid_names_the_nearest():
    with pytest.raises(UnknownNameError, match=f"did you mean '{CODE}'"):
        load_grid("1-LV-semiurb4--2-s")


def test_known_grid_without_the_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install"):
        load_grid("1-LV-rural1--2-sw")


def test_power_at_every_bus_is_what_the_grid_rows_add_up_to(grid, series):
    net, profiles = grid
    slots = [40, 5000, 20011]
    total = np.zeros((len(slots), len(net.bus)))
    for table, prefix, suffix, sign in (
        (net.load, "load/", "_pload", -1),
        (net.sgen, "renewables/", "", 1),
        (net.storage, "storage/", "", -1),
    ):
        for _, row in table.iterrows():
            value = profiles[prefix + row.profile + suffix].to_numpy()[slots]
            total[:, row.bus] += sign * value * row.p_mw * row.scaling * 1000
    ours = np.zeros_like(total)
    np.add.at(ours.T, series.background_bus, series.background_p_kw[slots].T)
    net_home = series.pv_per_kwp[slots] * series.grid_pv_kwp - series.load_kw[slots]
    np.add.at(ours.T, series.home_bus, net_home.T)
    with_storage = net.storage.bus[net.storage.bus.isin(series.home_bus)]
    chargers = series.sessions.charger_bus
    plain = ~np.isin(np.arange(len(net.bus)), np.concatenate([with_storage, chargers]))
    np.testing.assert_allclose(ours[:, plain], total[:, plain], atol=1e-4)


def test_homes_own_what_the_grid_says(series):
    assert (series.grid_pv_kwp > 0).sum() == 7
    assert (series.grid_battery_kwh > 0).sum() == 2
    assert ((series.pv_per_kwp >= 0) & (series.pv_per_kwp <= 1)).all()


def test_sessions_repeat_with_the_seed_and_keep_the_charged_energy(grid, series):
    assert same_sessions(series_from_grid(*grid, seed=0).sessions, series.sessions)
    other = series_from_grid(*grid, seed=1).sessions
    assert not same_sessions(other, series.sessions)
    net, profiles = grid
    chargers = net.load[net.load.profile.str.contains("LS_")]
    for c, row in enumerate(chargers.itertuples()):
        charged = profiles[f"load/{row.profile}_pload"].sum() * row.p_mw * 1000 / 4
        kept = series.sessions.energy_kwh[series.sessions.charger == c].sum()
        assert kept == pytest.approx(charged, rel=0.02)


def test_dense_sessions_agree_with_the_list(series):
    sessions, T = series.sessions, len(series.load_kw)
    dense = sessions.per_slot(T)
    assert dense.plugged.sum() == (sessions.departure - sessions.arrival).sum()
    assert dense.departs.sum() == len(sessions.charger)
    assert dense.need_kwh.sum() == pytest.approx(sessions.energy_kwh.sum(), rel=1e-5)
    assert ((dense.slots_left > 0) == dense.plugged).all()
    assert dense.plugged[dense.departs].all()
    stays = dense.plugged[:-1] & ~dense.departs[:-1]
    assert (dense.slots_left[1:][stays] == dense.slots_left[:-1][stays] - 1).all()
    possible = dense.slots_left / 4 * sessions.max_power_kw
    assert (dense.need_kwh <= possible * (1 + 1e-5)).all()
    assert (dense.carried_kwh <= possible * (1 + 1e-5) + 1e-6).all()
    assert (dense.carried_kwh[dense.need_kwh > 0] == dense.need_kwh[dense.need_kwh > 0]).all()


def test_dwell_never_cuts_a_run_nor_enters_the_next_session():
    power = np.array([0, 4, 4, 0, 0, 0, 4, 0, 4, 0], np.float32)[:, None]
    begin, end = charging_runs(power[:, 0], 0.04, bridge_slots=1)
    assert begin.tolist() == [1, 6]
    assert end.tolist() == [3, 9]
    for dwell, leave in ((1, [3, 9]), (4, [5, 10]), (50, [6, 10])):
        made = sessions_from_profiles(
            power, ("c",), np.array([0]), np.array([4.0]), (np.full(10, dwell),), 15, 1
        )
        assert made.departure.tolist() == leave
        assert made.energy_kwh.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("arrival", "departure", "energy", "message"),
    [
        ([0, 3], [4, 8], [1, 1], "before the last session"),
        ([0, 4], [4, 4], [1, 1], "in or before its arrival"),
        ([0, 4], [4, 8], [1, 9], "power times dwell"),
        ([0, 4], [4, 8], [1, np.nan], "negative or missing"),
    ],
)
def test_impossible_sessions_are_refused(arrival, departure, energy, message):
    with pytest.raises(DataError, match=message):
        Sessions(
            ("c",),
            np.array([0]),
            np.array([4.0], np.float32),
            np.array([0, 0]),
            np.array(arrival),
            np.array(departure),
            np.array(energy, np.float32),
            15,
        )


def test_dwell_follows_the_published_percentiles():
    hours = np.full(20_000, 18.0)
    drawn = draw_dwell_slots("home", hours, 15, np.random.default_rng(0)) / 4
    row = dict(DWELL_H["home"])[17]
    np.testing.assert_allclose(np.percentile(drawn, PERCENTILES[1:4]), row[1:4], atol=0.4)


@pytest.mark.parametrize(
    ("place", "file", "arrive", "leave"),
    [
        ("home", "norway_residential_sessions", "plugin_time", "plugout_time"),
        ("work", "acn_caltech_jpl_sessions", "arrival", "departure"),
    ],
)
def test_dwell_table_is_what_the_sources_say(place, file, arrive, leave):
    path = SHARED / "ev" / f"{file}.parquet"
    if not path.exists():
        pytest.skip(f"no {path.name} beside the checkout")
    table = pd.read_parquet(path, columns=[arrive, leave]).dropna()
    hours = (table[leave] - table[arrive]) / pd.Timedelta(hours=1)
    kept = (hours > 0) & (hours <= 72)
    first = np.array([row[0] for row in DWELL_H[place]])
    block = np.searchsorted(first, table[arrive].dt.hour, side="right") - 1
    for b, (_, listed) in enumerate(DWELL_H[place]):
        found = np.percentile(hours[kept & (block == b)], PERCENTILES)
        np.testing.assert_allclose(found, listed, atol=0.006)


def test_ownership_follows_the_penetration_and_the_seed(series):
    config = OwnershipConfig(**RULE)
    own = draw_ownership(config, series, seed=3)
    assert (own.pv_kwp > 0).sum() == 16
    assert (own.battery_kwh > 0).sum() == 8
    assert not (own.battery_kwh[own.pv_kwp == 0] > 0).any()
    kept = series.grid_pv_kwp > 0
    assert (own.pv_kwp[kept] == series.grid_pv_kwp[kept]).all()
    drawn = (own.pv_kwp > 0) & ~kept
    assert ((own.pv_kwp[drawn] >= 3) & (own.pv_kwp[drawn] <= 10)).all()
    assert ((own.battery_kw > 0) == (own.battery_kwh > 0)).all()
    without = own.pv_kwp[own.battery_kwh == 0].sum()
    assert own.community_kwh.sum() == pytest.approx(without)
    np.testing.assert_array_equal(own.pv_kwp, draw_ownership(config, series, seed=3).pv_kwp)
    assert (own.pv_kwp != draw_ownership(config, series, seed=4).pv_kwp).any()


def test_ownership_at_its_ends(series):
    none = draw_ownership(
        OwnershipConfig(**RULE | {"pv_share": 0, "community_batteries": 0}), series, 0
    )
    assert none.pv_kwp.sum() == none.battery_kwh.sum() == 0
    assert none.community_kwh.shape == (0,)
    full = draw_ownership(OwnershipConfig(**RULE | {"pv_share": 1, "battery_share": 1}), series, 0)
    assert (full.battery_kwh > 0).all()
    assert full.community_kwh.tolist() == [0, 0]


@pytest.mark.parametrize(
    "change", [{"pv_share": 1.2}, {"pv_kwp_min": 12.0}, {"battery_c_rate": -1.0}, {"typo": 1}]
)
def test_impossible_ownership_is_refused(change):
    with pytest.raises(ValidationError):
        OwnershipConfig(**RULE | change)


def test_calendar_parts_all_days_but_the_first_by_whole_weeks():
    start = pd.Timestamp("2016-01-01")
    parts = {name: calendar.days(name, start, 366).tolist() for name in calendar.SPLITS}
    assert sorted(day for days in parts.values() for day in days) == list(range(1, 366))
    assert len(parts["test"]) / 366 == pytest.approx(1 / 4, abs=0.02)
    assert len(parts["validation"]) / 366 == pytest.approx(1 / 8, abs=0.02)
    week = {d: (d + start.weekday()) // 7 for d in range(366)}
    for name, days in parts.items():
        others = {week[d] for part, ds in parts.items() if part != name for d in ds}
        assert not others & {week[d] for d in days}
    with pytest.raises(UnknownNameError, match="did you mean 'test'"):
        calendar.days("tests", start, 366)


@pytest.mark.parametrize("num_days", range(1, 40))
@pytest.mark.parametrize("start", ["2016-01-01", "2016-01-04"])
def test_short_data_have_days_of_every_split_too(start, num_days):
    """By weeks where they are enough for all three, and else in time: test comes last."""
    parts = {s: calendar.days(s, pd.Timestamp(start), num_days).tolist() for s in calendar.SPLITS}
    assert sorted(day for days in parts.values() for day in days) == list(range(1, num_days))
    if num_days < calendar.LEAST_DAYS:
        assert not parts["validation"] + parts["test"]
        return
    assert all(parts.values())
    if num_days < 18:  # no start of a week has a fourth one within
        assert max(parts["train"]) < min(parts["validation"])
        assert max(parts["validation"]) < min(parts["test"])
