"""Clocks, formats and units of a user's files: each gives its right value or one line."""

import gzip
import json
import logging

import numpy as np
import pandas as pd
import pytest
import torch

from gridbazaar import command_line, envs
from gridbazaar.envs.data.time_axis import event_time, standard_offset
from gridbazaar.envs.data.user_files import PriceFile, TimedFile, read_power, read_prices
from gridbazaar.envs.data.user_series import UserData, user_series
from gridbazaar.errors import ConfigError, DataError

HOUR = pd.Timedelta(hours=1)


def table(days=14, start="2021-06-01", step="60min", **zone):
    rows = int(pd.Timedelta(days=days) / pd.Timedelta(step))
    t = pd.date_range(start, periods=rows, freq=step, **zone)
    return pd.DataFrame({"t": t, "a": np.random.default_rng(0).random(rows) + 0.1})


def file(path, kind=TimedFile, **change):
    return kind(**{"path": path, "time_column": "t", "time_zone": None} | change)


def kw(path, column="a", unit="kW", slot_minutes=60, start=None, days=None, place=None, **change):
    """Return first day and kW [T] of a column."""
    begin, values = read_power(
        file(path, **change), [column], unit, slot_minutes, start, days, place
    )
    return begin, values[:, 0]


def refused(match, *arguments, **options):
    with pytest.raises(DataError, match=match) as caught:
        kw(*arguments, **options)
    assert len(str(caught.value).splitlines()) == 1


# --- clocks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("Wed, 02 Jun 2021 13:12:23 GMT", 5),
        ("2021-06-02 13:12:23 UTC", 5),
        ("2021-06-02T13:12:23Z", 5),
        ("02 Jun 2021 13:12:23 +0000", 5),
        ("2021-06-02 13:12:23-07:00", 12),
        ("2021/06/02 13:12:23", 12),
    ],
)
def test_an_instant_comes_to_standard_time_however_it_is_written(text, hour):
    got = event_time(pd.Series([text, text]), "America/Los_Angeles", "file")
    assert got.tolist() == [pd.Timestamp(f"2021-06-02 {hour:02d}:12:23")] * 2


@pytest.mark.parametrize("zone", ["PDT", "CEST", "MEZ"])
@pytest.mark.parametrize("place", [None, "Europe/Berlin"])
def test_abbreviations_of_zones_are_not_passed_over(zone, place):
    with pytest.raises(DataError, match=f"holds '{zone}'; write an offset"):
        event_time(pd.Series([f"2021-06-02 13:12:23 {zone}"]), place, "file")


@pytest.mark.parametrize(
    ("zone", "year", "hours"),
    [
        ("Europe/Berlin", 2021, 1),
        ("Europe/Dublin", 2021, 0),
        ("Africa/Casablanca", 2021, 1),
        ("Australia/Sydney", 2021, 10),
        ("America/Los_Angeles", 2021, -8),
        ("Asia/Kolkata", 2021, 5.5),
    ],
)
def test_standard_time_is_winter_s_whatever_the_law_calls_it(zone, year, hours):
    assert standard_offset(zone, year) == hours * HOUR


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Europe/Dublin", "Australia/Sydney"])
def test_clock_time_of_a_year_is_the_same_series_as_utc(tmp_path, zone):
    plain = table(366, "2020-01-01", tz="UTC")
    plain.to_csv(tmp_path / "utc.csv", index=False)
    clock = plain.assign(t=plain.t.dt.tz_convert(zone).dt.tz_localize(None))
    clock.to_csv(tmp_path / "clock.csv", index=False)
    first = kw(tmp_path / "utc.csv", place=zone)
    second = kw(tmp_path / "clock.csv", time_zone=zone)
    assert first[0] == second[0]
    np.testing.assert_allclose(first[1], second[1])


def test_all_files_of_a_place_lie_on_one_axis(tmp_path):
    load = table(16, "2023-06-25", tz="UTC").assign(a=0.4)
    load.loc[180, "a"] = 5.0
    load.to_csv(tmp_path / "load.csv", index=False)
    load.assign(p=np.where(load.a > 1, 900.0, 100.0)).to_csv(tmp_path / "price.csv", index=False)
    arrival = load.t[180].tz_convert("Europe/Oslo").tz_localize(None)
    cars = pd.DataFrame({"c": ["x"], "f": [arrival], "u": [arrival + 3 * HOUR], "k": [9.0]})
    cars.to_csv(tmp_path / "cars.csv", index=False)
    series = user_series(own(tmp_path, load={"time_zone": "UTC"}, sessions=sessions(tmp_path)))
    price = file(
        tmp_path / "price.csv",
        PriceFile,
        time_zone="Europe/Berlin",
        column="p",
        unit="per_mwh",
    )
    prices = read_prices(price, 60, series.start, 10)
    slot = series.load_kw[:, 0].argmax()
    assert slot == prices.argmax() == series.sessions.arrival[0]
    in_berlin = own(tmp_path, load={"time_zone": "UTC"}, time_zone="Europe/Berlin")
    moved = user_series(in_berlin)
    assert moved.start == series.start + 23 * HOUR
    assert moved.load_kw[:, 0].argmax() == slot - 23


def own(tmp_path, load=(), sessions=None, **change):
    source = {"path": tmp_path / "load.csv", "time_column": "t", "time_zone": None, "unit": "kW"}
    base = {"slot_minutes": 60, "start": None, "days": None, "power_factor": 0.95, "pv": None}
    return UserData(
        **(base | change), sessions=sessions, load=source | {"columns": {"a": "a"}} | dict(load)
    )


def sessions(tmp_path, **change):
    names = {"charger": "c", "arrival": "f", "departure": "u", "energy_kwh": "k"}
    rest = {"chargers": None, "max_power_kw": 11.0, "drop_incomplete": False}
    return {"path": tmp_path / "cars.csv", "time_zone": "Europe/Oslo"} | names | rest | change


def test_days_of_24_rows_are_told_or_padded(tmp_path):
    path = tmp_path / "a.csv"
    autumn = table(3, "2025-10-25")
    autumn.to_csv(path, index=False)
    refused("2025-10-26 has 24 rows.*clock_change to padded", path, time_zone="Europe/Berlin")
    _, padded = kw(path, time_zone="Europe/Berlin", clock_change="padded")
    # The axis begins an hour later than the file's summer time, and has one hour more.
    np.testing.assert_allclose(padded, np.insert(autumn.a.to_numpy(), 26, autumn.a[26])[1:])
    spring = table(3, "2025-03-29")
    spring.to_csv(path, index=False)
    refused("1 rows stand in an hour that the clocks", path, time_zone="Europe/Berlin")
    _, padded = kw(path, time_zone="Europe/Berlin", clock_change="padded", days=2)
    np.testing.assert_allclose(padded, np.delete(spring.a.to_numpy(), 26)[:48])
    assert kw(path)[1].shape == (72,)


def test_dates_in_figures_are_not_guessed_at(tmp_path):
    path = tmp_path / "a.csv"
    plain = table(20)
    plain.assign(t=plain.t.dt.strftime("%d.%m.%Y %H:%M")).to_csv(path, index=False)
    refused(r"may begin with the day or the month; set time_format, to '%d.%m.%Y %H:%M'", path)
    begin, values = kw(path, time_format="%d.%m.%Y %H:%M")
    assert begin == pd.Timestamp("2021-06-01")
    np.testing.assert_allclose(values, plain.a)
    refused("do not follow time_format '%m.%d.%Y %H:%M'", path, time_format="%m.%d.%Y %H:%M")


@pytest.mark.parametrize(("unit", "per_s"), [("unix_s", 1), ("unix_ms", 1000)])
def test_unix_time_is_utc(tmp_path, unit, per_s):
    path = tmp_path / "a.csv"
    plain = table(3, tz="UTC")
    seconds = [int(t.timestamp()) * per_s for t in plain.t]
    plain.assign(t=seconds).to_csv(path, index=False)
    refused("set time_format to unix_s", path, time_zone="UTC")
    np.testing.assert_allclose(kw(path, time_zone="UTC", time_format=unit)[1], plain.a)
    refused("set time_zone to the zone of the place", path, time_format=unit)


def test_stamps_may_stand_at_the_end(tmp_path):
    path = tmp_path / "a.csv"
    plain = table(3)
    plain.assign(t=plain.t + HOUR).to_csv(path, index=False)
    begin, values = kw(path, stamps="end")
    assert begin == pd.Timestamp("2021-06-01")
    np.testing.assert_allclose(values, plain.a)
    plain.drop(index=30).assign(t=lambda d: d.t + HOUR).to_csv(path, index=False)
    refused("1 gaps, first after 2021-06-02 06:00", path, stamps="end")


@pytest.mark.parametrize("mixed", [["2021-06-01 00:00", "2021-06-01 01:00+00:00"]])
def test_some_stamps_with_an_offset_are_refused(mixed):
    with pytest.raises(DataError, match="write all with one or all without"):
        event_time(pd.Series(mixed), "UTC", "file")


# --- formats ----------------------------------------------------------------------------------


def test_encodings_are_named(tmp_path):
    path = tmp_path / "a.csv"
    text = table(2).rename(columns={"a": "Küche"}).to_csv(index=False)
    for encoding in ("latin-1", "utf-16"):
        path.write_bytes(text.encode(encoding))
        refused("a.csv is not utf-8.*set encoding", path, "Küche")
        assert kw(path, "Küche", encoding=encoding)[1].shape == (48,)
    refused("set encoding", path, "Küche", encoding="utf8-nonsense")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.csv", b"", "cannot be read as .csv"),
        ("a.csv", b"t,a\n", "has no rows"),
        ("a.csv", b"t,a\n1,2,3\n", "cannot be read as .csv.*separator"),
        ("a.parquet", b"PAR1 nothing", "cannot be read as .parquet"),
        ("a.json", b"{", "cannot be read as .json"),
        ("a.csv", b"t;a\n2021-06-01;1\n", "set separator to ';'"),
        ("a.csv", b"t,a\n2021-06-01,1\n2021-06-02,1\n", "no column 'b'"),
    ],
)
def test_unreadable_files_are_told_in_one_line(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    refused(match, tmp_path / name, "b" if "'b'" in match else "a")


def test_lines_around_the_table(tmp_path):
    path = tmp_path / "a.csv"
    plain = table(2)
    path.write_text(plain.to_csv(index=False) + "Source: us\n")
    refused("holds 'Source'.*skip_footer", path)
    np.testing.assert_allclose(kw(path, skip_footer=1)[1], plain.a)
    path.write_text("A title\n\n" + plain.to_csv(index=False))
    np.testing.assert_allclose(kw(path, skip_rows=2)[1], plain.a)


def test_a_german_table(tmp_path):
    path = tmp_path / "a.csv.gz"
    plain = table(2).assign(a=lambda d: d.a * 2000)
    rows = "".join(
        f"{t:%d.%m.%Y %H:%M};{a:,.3f}\n".replace(",", "_")
        .replace(".", ",")
        .replace("_", ".")
        .replace(f"{t:%d,%m,%Y}", f"{t:%d.%m.%Y}")
        for t, a in zip(plain.t, plain.a, strict=True)
    )
    path.write_bytes(gzip.compress(f"t;a\n{rows}-;-\n".encode()))
    german = {"separator": ";", "decimal": ",", "thousands": ".", "time_format": "%d.%m.%Y %H:%M"}
    _, values = kw(path, unit="W", skip_footer=1, **german)
    np.testing.assert_allclose(values, plain.a / 1000, atol=1e-6)
    german |= {"decimal": ".", "thousands": None}
    refused("set decimal to ','", path, unit="W", skip_footer=1, **german)


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_json(tmp_path, suffix):
    path, plain = tmp_path / f"a.{suffix}", table(2)
    plain.assign(t=plain.t.astype(str)).to_json(path, orient="records", lines=suffix == "jsonl")
    np.testing.assert_allclose(kw(path)[1], plain.a)


def test_long_tables(tmp_path):
    path, plain = tmp_path / "a.csv", table(2)
    both = [plain.assign(id="7", v=plain.a), plain.assign(id="8", v=plain.a * 2)]
    pd.concat(both).sort_values("t")[["t", "id", "v"]].to_csv(path, index=False)
    long = {"series": "id", "amount": "v"}
    np.testing.assert_allclose(kw(path, "8", long=long)[1], plain.a * 2)
    refused("no column '9': known are 7, 8", path, "9", long=long)


def test_one_column_serves_two_homes(tmp_path):
    table(2).to_csv(tmp_path / "load.csv", index=False)
    series = user_series(own(tmp_path, load={"columns": {"anna": "a", "ben": "a"}}))
    assert series.home_names == ("anna", "ben")
    np.testing.assert_allclose(series.load_kw[:, 0], series.load_kw[:, 1])


def test_a_file_may_change_its_resolution(tmp_path):
    path = tmp_path / "a.csv"
    coarse, fine = table(3), table(3, "2021-06-04", "15min")
    pd.concat([coarse, fine]).to_csv(path, index=False)
    _, values = kw(path, slot_minutes=30, unit="kWh")
    np.testing.assert_allclose(values[:144], np.repeat(coarse.a, 2))
    np.testing.assert_allclose(values[144:], fine.a.to_numpy().reshape(-1, 2).mean(1) * 4)
    pd.concat([coarse, fine.drop(index=[50])]).to_csv(path, index=False)
    refused("1 gaps, first after 2021-06-04 12:15", path)
    pd.concat([coarse, fine.drop(index=[49, 50, 51])]).to_csv(path, index=False)
    refused("step becomes 0 days 01:00:00 for less than a day", path)


@pytest.mark.parametrize(
    ("unit", "factor"), [("W", 1e-3), ("MW", 1e3), ("kWh", 2), ("Wh", 2e-3), ("MWh", 2e3)]
)
def test_units_of_power_and_energy(tmp_path, unit, factor):
    path, plain = tmp_path / "a.csv", table(2, step="30min")
    plain.to_csv(path, index=False)
    np.testing.assert_allclose(kw(path, unit=unit, slot_minutes=30)[1], plain.a * factor)


# --- sessions ---------------------------------------------------------------------------------

CARS = pd.DataFrame(
    {
        "c": ["x", "x", "y"],
        "f": ["2021-06-05 08:05", "2021-06-07 18:00", "2021-06-13 20:00"],
        "u": ["2021-06-05 10:10", "2021-06-08 07:00", "2021-07-14 07:00"],
        "k": [9.0, 20.0, 5.0],
    }
)


def test_day_first_sessions_are_kept_or_told(tmp_path):
    table().to_csv(tmp_path / "load.csv", index=False)
    days = {n: pd.to_datetime(CARS[n]).dt.strftime("%d.%m.%Y %H:%M") for n in "fu"}
    CARS.assign(**days)[:2].to_csv(tmp_path / "cars.csv", index=False)
    with pytest.raises(DataError, match="may begin with the day or the month"):
        user_series(own(tmp_path, sessions=sessions(tmp_path, time_zone=None)))
    source = sessions(tmp_path, time_zone=None, time_format="%d.%m.%Y %H:%M")
    made = user_series(own(tmp_path, sessions=source)).sessions
    assert made.arrival.tolist() == [4 * 24 + 8, 6 * 24 + 18]


def test_sessions_are_left_out_with_a_count(tmp_path, caplog):
    table().to_csv(tmp_path / "load.csv", index=False)
    CARS.assign(k=[9.0, np.nan, 5.0]).to_csv(tmp_path / "cars.csv", index=False)
    source = sessions(tmp_path, time_zone=None, drop_incomplete=True)
    with caplog.at_level(logging.WARNING):
        made = user_series(own(tmp_path, sessions=source)).sessions
    assert len(made.charger) == 1
    assert "1 sessions with missing cells left out" in caplog.text
    assert "1 of 2 sessions left out that reach beyond the days" in caplog.text
    CARS[2:].to_csv(tmp_path / "cars.csv", index=False)
    with pytest.raises(DataError, match=r"none of 1 sessions.*lies within the chosen days"):
        user_series(own(tmp_path, sessions=source))


def test_chargers_may_differ_in_power(tmp_path):
    table(60).to_csv(tmp_path / "load.csv", index=False)
    CARS.to_csv(tmp_path / "cars.csv", index=False)
    source = sessions(tmp_path, time_zone=None, max_power_kw={"y": 3.7, "x": 22.0})
    made = user_series(own(tmp_path, sessions=source)).sessions
    assert made.charger_names == ("x", "y")
    assert made.max_power_kw.tolist() == pytest.approx([22.0, 3.7])
    source["max_power_kw"] = {"x": 22.0}
    with pytest.raises(DataError, match="expected each of the chargers x, y"):
        user_series(own(tmp_path, sessions=source))


# --- a task of them ---------------------------------------------------------------------------


def words(path, *more, slot_minutes=60):
    load = {"path": f"'{path}'", "time_column": "t", "unit": "kW"}
    return (
        *(f"task.data.load.{key}={value}" for key, value in load.items()),
        "+task.data.load.columns={a: a}",
        f"task.data.slot_minutes={slot_minutes}",
        *more,
    )


def test_without_a_pv_file_nobody_owns_pv(tmp_path):
    table(22).to_csv(tmp_path / "two weeks (1).csv", index=False)
    path = tmp_path / "two weeks (1).csv"
    for more in ((), ("task.ownership.pv_share=1.0", "task.ownership.community_batteries=2")):
        community = envs.batched("own_data", overrides=words(path, *more), num_envs=1).community
        assert community.pv_kwp.sum() == community.pv_kw.max() == 0
        assert community.fleet.kinds["storage"].import_kw.sum() == 0
    with pytest.raises(ConfigError, match=r"put a value with spaces.*in quotes"):
        envs.batched("own_data", overrides=(f"task.data.load.path={path}",), num_envs=1)


@pytest.mark.parametrize("slot_minutes", [30, 60])
@pytest.mark.parametrize("ledger", ["ideal", "block"])
def test_ledgers_take_the_slots_of_the_data(tmp_path, slot_minutes, ledger):
    table(22).to_csv(tmp_path / "a.csv", index=False)
    given = words(tmp_path / "a.csv", slot_minutes=slot_minutes)
    sim = envs.batched("own_data", ledger=ledger, overrides=given, num_envs=2)
    assert sim.slots == 24 * 60 // slot_minutes
    sim.reset(seed=0)
    interval = sim.step(torch.zeros(2, sim.num_seats, 6))
    assert interval.reward.total.isfinite().all()


def test_the_command_evaluates_hourly_data(tmp_path, capsys):
    table(22).to_csv(tmp_path / "a.csv", index=False)
    place = (f"folder={tmp_path}", "name=hourly", "task=own_data", "days=1", "planner=false")
    chosen = ("market=ce_sdt", "bidder=own_use", "ledger=block")
    assert command_line.main(["evaluate", *place, *chosen, *words(tmp_path / "a.csv")]) == 0
    summary = json.loads((tmp_path / "hourly" / "summary.json").read_text())
    played = {(row["market"], row["ledger"]) for row in summary["rows"] if not row["baseline"]}
    assert ("ce_sdt", "block") in played
    costs = [row["kpis"]["community_cost"]["mean"] for row in summary["rows"]]
    assert min(costs) > 0


def test_too_few_days_are_told_with_how_many_a_split_needs(tmp_path):
    table(3).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=r"hold 3 days.*none of split 'test'.*at least 4 days"):
        envs.batched("own_data", overrides=words(tmp_path / "a.csv"), split="test", num_envs=1)


def test_two_weeks_are_enough_and_homes_keep_their_names_and_get_no_batteries(tmp_path):
    table(14).to_csv(tmp_path / "a.csv", index=False)
    given = [*words(tmp_path / "a.csv"), "+task.data.load.columns.ben=a"]
    env = envs.parallel_env("own_data", overrides=tuple(given), split="test")
    community = env.simulation.community
    assert all(len(days) for days in community.days.values())
    assert community.seats == ("consumer_0", "consumer_1")
    assert community.homes == ("a", "ben")
    assert len(community.fleet.kinds["storage"].seat) == 0
    assert env.reset(seed=0)[1] == {"consumer_0": {"home": "a"}, "consumer_1": {"home": "ben"}}
    plain = envs.parallel_env("small")
    named = [info.get("home") for info in plain.reset(seed=0)[1].values()]
    assert len([name for name in named if name]) == 6
    assert named.count(None) == 3
