"""A user's own files: what is read from them, and what is refused and why."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridbazaar.envs.data.user_files import PriceFile, read_prices
from gridbazaar.envs.data.user_series import UserData, user_series
from gridbazaar.errors import DataError

SHARED = Path(__file__).parents[2] / "shared" / "data"


def write_load(path, step="30min", days=3, edit=None, zone=None, start="2021-06-01"):
    time = pd.date_range(start, periods=pd.Timedelta(days=days) // pd.Timedelta(step), freq=step)
    if zone:
        time = time.tz_localize("UTC")
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"when": time, "a": rng.random(len(time)), "b": rng.random(len(time))})
    table = table if edit is None else edit(table)
    (table.to_csv if path.suffix == ".csv" else table.to_parquet)(path, index=False)
    return table


def config(path, **change):
    load = {
        "path": str(path),
        "time_column": "when",
        "time_zone": None,
        "unit": "kW",
        "columns": {"home a": "a", "home b": "b"},
    }
    top = {"slot_minutes": 15, "start": None, "days": None, "power_factor": 0.95}
    parts = {"pv": None, "sessions": None} | {k: change.pop(k) for k in list(change) if k in top}
    parts |= {k: change.pop(k) for k in ("pv", "sessions") if k in change}
    return UserData(**(top | parts), load=load | change)


def read(data):
    return user_series(data)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("step", ["5min", "15min", "30min", "60min"])
def test_resampling_keeps_the_energy(tmp_path, suffix, step):
    path = tmp_path / f"load{suffix}"
    table = write_load(path, step)
    hours = pd.Timedelta(step) / pd.Timedelta(hours=1)
    power, energy = read(config(path)), read(config(path, unit="kWh"))
    assert power.num_days == 3
    assert power.home_names == ("home a", "home b")
    np.testing.assert_allclose(power.load_kw.sum(0) / 4, table[["a", "b"]].sum() * hours, rtol=1e-5)
    np.testing.assert_allclose(energy.load_kw.sum(0) / 4, table[["a", "b"]].sum(), rtol=1e-5)
    ratio = power.load_kw[0, 0] / np.hypot(power.load_kw[0, 0], power.load_kvar[0, 0])
    assert ratio == pytest.approx(0.95, rel=1e-5)


def test_days_are_cut_to_the_choice(tmp_path):
    path = tmp_path / "load.csv"
    table = write_load(path)
    series = read(config(path, start="2021-06-02", days=1))
    assert series.start == pd.Timestamp("2021-06-02")
    assert series.load_kw[0, 0] == pytest.approx(table.a[48], rel=1e-6)
    with pytest.raises(DataError, match="not the whole days"):
        read(config(path, start="2021-06-03", days=2))


@pytest.mark.parametrize("summer", ["2021-03-27", "2021-10-30"])
def test_days_of_a_clock_change_have_as_many_slots_as_others(tmp_path, summer):
    path = tmp_path / "load.csv"

    def to_clock(table):
        clock = table.when.dt.tz_localize("Etc/GMT-1").dt.tz_convert("Europe/Berlin")
        return table.assign(when=clock.dt.tz_localize(None))

    plain = write_load(path, start=summer, days=3)
    write_load(path, start=summer, days=3, edit=to_clock)
    series = read(config(path, time_zone="Europe/Berlin"))
    assert series.start == pd.Timestamp(summer, tz="Etc/GMT-1")
    np.testing.assert_allclose(series.load_kw[::2, 0], plain.a, rtol=1e-6)


def test_stamps_with_an_offset_become_standard_time(tmp_path):
    path = tmp_path / "load.parquet"
    write_load(path, zone="UTC")
    series = read(config(path, time_zone="Europe/Berlin", start="2021-06-02", days=1))
    utc = read(config(path, time_zone="UTC"))
    np.testing.assert_array_equal(series.load_kw, utc.load_kw[92:188])
    with pytest.raises(DataError, match="set time_zone"):
        read(config(path))
    with pytest.raises(DataError, match="IANA"):
        read(config(path, time_zone="Berlin"))


def drop(rows):
    return lambda table: table.drop(index=rows)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop([50, 51]), r"1 gaps, first after 2021-06-02 00:30"),
        (lambda t: pd.concat([t, t.iloc[[7]]]).sort_values("when"), r"1 duplicate.*03:30"),
        (lambda t: t.iloc[::-1], r"time goes backwards at row 1"),
        (lambda t: t.assign(a=t.a.where(t.index != 9)), r"'a' has 1 missing.*04:30"),
        (lambda t: t.assign(a=t.a * 1000), r"'a' read as kW peaks.*set unit"),
        (lambda t: t.assign(b=t.b * 1e-4), r"'b' read as kW.*set unit"),
        (lambda t: t.assign(b=t.b - 0.5), r"'b' falls to -0.*net load"),
        (lambda t: t.assign(a="1,5"), r"'a' is not numeric"),
        (lambda t: t.rename(columns={"b": "bb"}), r"no column 'b'.*did you mean 'bb'.*when, a, bb"),
        (lambda t: t.assign(when=np.arange(len(t))), r"holds numbers, expected time"),
        (lambda t: t.assign(when=t.when.where(t.index != 3)), r"1 time stamps missing.*row 3"),
        (lambda t: t.iloc[:0], r"no rows"),
        (lambda t: t.assign(when="yesterday"), r"time column 'when'"),
    ],
)
def test_bad_files_are_refused_with_the_place(tmp_path, edit, message):
    path = tmp_path / "load.csv"
    write_load(path, edit=edit)
    with pytest.raises(DataError, match=message):
        read(config(path))


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no file"):
        read(config(tmp_path / "none.csv"))
    (tmp_path / "load.xlsx").write_text("")
    with pytest.raises(DataError, match=r"expected \.csv or \.parquet"):
        read(config(tmp_path / "load.xlsx"))
    write_load(tmp_path / "load.csv", "20min")
    with pytest.raises(DataError, match="multiple"):
        read(config(tmp_path / "load.csv"))
    with pytest.raises(DataError, match="names no home"):
        read(config(tmp_path / "load.csv", columns={}))
    with pytest.raises(DataError, match="set time_column"):
        read(config(tmp_path / "load.csv", time_column=None))


def pv(path, **change):
    columns = {"home b": "b"}
    base = {"path": str(path), "time_column": "when", "time_zone": None, "unit": "kW"}
    return base | {"columns": columns, "kwp": {"home b": 2.0}} | change


def test_pv_is_per_kwp_of_the_roof(tmp_path):
    path = tmp_path / "load.csv"
    table = write_load(path)
    series = read(config(path, pv=pv(path)))
    assert series.grid_pv_kwp.tolist() == [0, 2]
    np.testing.assert_allclose(series.pv_per_kwp[::2, 1], table.b / 2, rtol=1e-6)
    assert read(config(path, pv=pv(path, kwp="peak"))).pv_per_kwp.max() == pytest.approx(1)
    with pytest.raises(DataError, match="check unit and kwp"):
        read(config(path, pv=pv(path, kwp={"home b": 0.1})))
    with pytest.raises(DataError, match="without kwp: \\['home b'\\]"):
        read(config(path, pv=pv(path, kwp={"home a": 1.0})))


SESSIONS = pd.DataFrame(
    {
        "station": ["x", "x", "y"],
        "from": ["2021-06-01 08:05", "2021-06-01 10:20", "2021-06-02 20:00"],
        "to": ["2021-06-01 10:10", "2021-06-01 12:00", "2021-06-03 07:00"],
        "kwh": [9.0, 3.0, 20.0],
    }
)


def sessions(path, **change):
    names = {"charger": "station", "arrival": "from", "departure": "to", "energy_kwh": "kwh"}
    rest = {"chargers": None, "max_power_kw": 11.0, "drop_incomplete": False, "time_zone": None}
    return {"path": str(path)} | names | rest | change


def test_sessions_hold_the_slots_they_touch(tmp_path):
    load, path = tmp_path / "load.csv", tmp_path / "sessions.csv"
    write_load(load)
    SESSIONS.to_csv(path, index=False)
    made = read(config(load, sessions=sessions(path))).sessions
    assert made.charger.tolist() == [0, 0, 1]
    assert made.arrival.tolist() == [32, 41, 96 + 80]
    assert made.departure.tolist() == [41, 48, 192 + 28]
    assert made.energy_kwh.tolist() == [9, 3, 20]
    only = read(config(load, sessions=sessions(path, chargers=["y"]))).sessions
    assert only.charger_names == ("y",)
    assert len(only.charger) == 1


@pytest.mark.parametrize(
    ("edit", "change", "message"),
    [
        ({"kwh": [9.0, np.nan, 1.0]}, {}, "1 sessions with missing cells, first in row 1"),
        ({"kwh": [90.0, 3.0, 1.0]}, {}, "more than max_power_kw"),
        ({"kwh": [-1.0, 3.0, 1.0]}, {}, "negative energy"),
        ({"to": ["2021-06-01 08:00", *SESSIONS.to[1:]]}, {}, "depart in or before"),
        ({"to": ["2021-06-01 11:10", *SESSIONS.to[1:]]}, {}, "1 sessions start before the last"),
        ({}, {"chargers": ["z"]}, "no sessions of"),
        ({}, {"arrival": "form"}, "did you mean 'from'"),
    ],
)
def test_impossible_session_files_are_refused(tmp_path, edit, change, message):
    load, path = tmp_path / "load.csv", tmp_path / "sessions.csv"
    write_load(load)
    SESSIONS.assign(**edit).to_csv(path, index=False)
    with pytest.raises(DataError, match=message):
        read(config(load, sessions=sessions(path, **change)))


def shared(*parts):
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {path.name} beside the checkout")
    return path


def test_fontana_homes_with_norwegian_sessions():
    path = shared("households", "fontana_ca_17_homes_hourly.parquet")
    homes = [f"home_{i:02d}" for i in range(1, 18)]
    timed = {"path": str(path), "time_column": None, "time_zone": None, "unit": "kWh"}
    data = UserData(
        slot_minutes=15,
        start=None,
        days=None,
        power_factor=0.95,
        load=timed | {"columns": {h: f"{h}_load_kwh" for h in homes}},
        pv=timed | {"columns": {h: f"{h}_pv_kwh" for h in homes[:14]}, "kwp": "peak"},
        sessions=None,
    )
    series = read(data)
    assert series.num_days == 364
    assert series.pv_per_kwp.max() == pytest.approx(1)
    table = pd.read_parquet(path)
    hourly = table.home_03_load_kwh["2016-08-01":"2017-07-30"].sum()
    assert series.load_kw[:, 2].sum() / 4 == pytest.approx(hourly, rel=1e-4)


NORWAY = ("user_id", "plugin_time", "plugout_time", "energy_session", "Europe/Oslo", True)
ACN = ("station_id", "arrival", "departure", "delivered_kwh", "America/Los_Angeles", False)
KEYS = ("charger", "arrival", "departure", "energy_kwh", "time_zone", "drop_incomplete")


@pytest.mark.parametrize(
    ("name", "start", "columns", "chargers"),
    [
        ("norway_residential_sessions", "2019-09-01", NORWAY, ["ASK_Plass15"]),
        ("acn_caltech_jpl_sessions", "2019-05-01", ACN, ["CA-305", "CA-314"]),
    ],
)
def test_published_sessions_are_read(tmp_path, name, start, columns, chargers):
    path = shared("ev", f"{name}.parquet")
    load = tmp_path / "load.parquet"
    write_load(load, start=start, days=120)
    change = dict(zip(KEYS, columns, strict=True)) | {"chargers": chargers, "max_power_kw": 22.0}
    made = read(config(load, sessions=sessions(path, **change))).sessions
    assert len(made.charger) > 10
    assert made.per_slot(120 * 96).plugged.any(axis=0).all()


def test_ausgrid_homes_in_energy_and_in_power():
    half = shared("ausgrid", "ausgrid_customer_1_2012h2_30min.parquet")
    column = {"columns": {"one": "general_consumption_kwh"}, "unit": "kWh"}
    series = read(config(half, time_column="interval_start", **column))
    assert 1_000 < series.annual_kwh[0] < 20_000
    hourly = shared("ausgrid", "ausgrid_customer_1_2012-11_hourly.csv")
    assert read(config(hourly, time_column="interval_start", **column)).num_days == 30
    year = shared("ausgrid", "ausgrid_customer_12_2011_2012_30min.parquet")
    power = {"columns": {"twelve": "general_consumption"}, "unit": "kW", "time_column": None}
    assert read(config(year, **power)).num_days == 366
    many = shared("ausgrid", "ausgrid_300_homes_net_load_weather_30min_2010_2013.parquet")
    with pytest.raises(DataError, match="net load"):
        read(config(many, **power | {"columns": {"all": "netload_kW"}}))


def test_day_ahead_prices_of_a_year_and_the_gap_in_another():
    path = shared("prices", "epex_de_day_ahead_hourly_2015_2024.parquet")
    base = {"path": path, "time_column": None, "time_zone": "Europe/Berlin"}
    file = PriceFile(**base, column="price_eur_per_mwh", unit="per_mwh")
    prices = read_prices(file, 15, pd.Timestamp("2016-01-01"), 366)
    assert prices.shape == (366 * 96,)
    assert 0.02 < prices.mean() < 0.04
    table = pd.read_parquet(path)
    steps = table.index.to_series().diff()
    gap = (steps[steps > pd.Timedelta(hours=1)].index[0]).tz_localize(None).normalize()
    with pytest.raises(DataError, match="1 gaps, first after"):
        read_prices(file, 15, gap - pd.Timedelta(days=2), 5)
    wrong = PriceFile(**base, column="price_eur_per_mwh", unit="per_kwh")
    with pytest.raises(DataError, match="set unit"):
        read_prices(wrong, 15, pd.Timestamp("2016-01-01"), 366)
