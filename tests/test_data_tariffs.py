"""Tariffs: what is shipped, what they price, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from gridbazaar.envs.data.tariffs import parse_tariff
from gridbazaar.envs.data.user_files import PRICE_FACTOR, PriceFile, read_prices
from gridbazaar.errors import ConfigError, DataError

SHIPPED = sorted((Path(__file__).parents[1] / "configs" / "tariff").glob("*.yaml"))
START = pd.Timestamp("2016-01-01")


def shipped(name):
    path = next(p for p in SHIPPED if p.stem == name)
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_tariffs_price_a_year(path):
    tariff = parse_tariff(yaml.safe_load(path.read_text(encoding="utf-8")))
    prices = tariff.prices(START, 366, 15)
    assert tariff.name == path.stem
    assert tariff.source
    assert prices.retail.shape == prices.feed_in.shape == prices.local_network.shape == (35136,)
    local_pays = prices.retail > prices.feed_in + prices.local_network
    # An exchange's price falls so low in a few hours: 11 of 2016's 8,784.
    assert (~local_pays).sum() == (44 if tariff.kind == "day_ahead" else 0)
    assert (prices.local_network >= 0).all()


def test_german_windows_hold_in_winter_alone():
    prices = parse_tariff(shipped("german_tou")).prices(START, 366, 15).retail.reshape(366, 96)
    assert prices[10, 8] == pytest.approx(0.3077)
    assert prices[10, 70] == pytest.approx(0.3956)
    assert prices[10, 2] == pytest.approx(0.3692)
    assert (prices[180] == prices[180, 0]).all()


def test_nsw_prices_are_the_study_s():
    prices = parse_tariff(shipped("ce_sdt_nsw")).prices(START, 1, 60)
    expected = [0.177] * 7 + [0.2771] * 7 + [0.5411] * 6 + [0.2771] * 2 + [0.177] * 2
    np.testing.assert_allclose(prices.retail, expected, rtol=1e-6)
    assert prices.currency == "AUD"


def windows(*parts):
    keys = ("start", "end", "network")
    rows = [dict(zip(keys, p, strict=True)) for p in parts]
    return {"seasons": [{"months": list(range(1, 13)), "windows": rows}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (windows(("00:00", "12:00", 0.1), ("11:00", "24:00", 0.1)), "overlap at 11:00"),
        (windows(("00:00", "12:00", 0.1), ("13:00", "24:00", 0.1)), "no window holds 12:00"),
        (windows(("00:00", "25:00", 0.1)), "expected text of the form"),
        (windows((0, "24:00", 0.1)), "string"),
        (windows(("00:00", "24:00", -0.1)), "greater than or equal to 0"),
        ({"feed_in": 0.5}, "feed_in 0.5 is above retail 0.3969 in the window 00:00-24:00"),
        ({"local_network_share": 1.5}, "less than or equal to 1"),
        ({"fed_in": 0.1}, "did you mean .feed_in"),
        ({"kind": "window"}, "kind"),
    ],
)
def test_impossible_tariffs_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        parse_tariff(shipped("flat") | change)


def test_months_must_be_held_once():
    season = shipped("flat")["seasons"][0] | {"months": [1, 2, 2]}
    with pytest.raises(ConfigError, match=r"months \[1, 2, 2\]"):
        parse_tariff(shipped("flat") | {"seasons": [season]})


def test_windows_that_cut_slots_are_refused():
    cut = parse_tariff(shipped("flat") | windows(("00:00", "06:10", 0.1), ("06:10", "24:00", 0.2)))
    with pytest.raises(DataError, match="within a slot"):
        cut.prices(START, 1, 15)
    assert cut.prices(START, 1, 10).retail[36] < cut.prices(START, 1, 10).retail[37]


def day_ahead(tmp_path, prices, **change):
    time = pd.date_range(START, periods=len(prices), freq="h")
    path = tmp_path / "prices.csv"
    pd.DataFrame({"when": time, "eur_per_mwh": prices}).to_csv(path, index=False)
    file = {"path": str(path), "time_column": "when", "time_zone": None}
    base = {
        "kind": "day_ahead",
        "name": "mine",
        "currency": "EUR",
        "source": "own file",
        "feed_in": 0.08,
        "local_network_share": 0.43,
        "price": file | {"column": "eur_per_mwh", "unit": "per_mwh"},
        "adders": 0.08,
        "network": 0.09,
        "vat": 0.19,
    }
    return parse_tariff(base | change)


def test_day_ahead_adds_the_fixed_parts(tmp_path):
    prices = day_ahead(tmp_path, np.arange(24.0)).prices(START, 1, 15)
    np.testing.assert_allclose(
        prices.retail, np.repeat((np.arange(24) / 1000 + 0.17) * 1.19, 4), rtol=1e-6
    )
    np.testing.assert_allclose(prices.local_network, 0.43 * 0.09 * 1.19, rtol=1e-6)


def test_retail_may_fall_below_feed_in_and_below_zero(tmp_path):
    spot = np.where(np.arange(24) == 13, -350.0, 30.0)
    prices = day_ahead(tmp_path, spot).prices(START, 1, 60)
    assert prices.retail[13] == pytest.approx((-0.35 + 0.17) * 1.19, rel=1e-5)
    assert prices.feed_in[13] == pytest.approx(0.08)
    assert (np.delete(prices.retail, 13) > 0.08).all()
    low = windows(("00:00", "12:00", 0.01), ("12:00", "24:00", 0.2))
    crossing = parse_tariff(shipped("flat") | low | {"feed_in": 0.3}).prices(START, 1, 60)
    assert (crossing.retail < crossing.feed_in).sum() == 12


def test_feed_in_may_follow_the_exchange_or_a_file(tmp_path):
    spot = np.linspace(-50.0, 80.0, 24)
    followed = day_ahead(tmp_path, spot, feed_in={"below_market": 0.004}).prices(START, 1, 60)
    np.testing.assert_allclose(followed.feed_in, spot / 1000 - 0.004, rtol=1e-5)
    time = pd.date_range(START, periods=48, freq="30min")
    path = tmp_path / "feed_in.csv"
    pd.DataFrame({"t": time, "cent": np.linspace(-5, 9, 48)}).to_csv(path, index=False)
    own = {"path": str(path), "time_column": "t", "time_zone": None, "column": "cent"}
    own |= {"unit": "cent_per_kwh"}
    hourly = parse_tariff(shipped("flat") | {"feed_in": own}).prices(START, 1, 30)
    np.testing.assert_allclose(hourly.feed_in, np.linspace(-0.05, 0.09, 48), rtol=1e-5)
    with pytest.raises(DataError, match="no exchange price"):
        parse_tariff(shipped("flat") | {"feed_in": {"below_market": 0.0}}).prices(START, 1, 60)


def test_shipped_exchange_prices_are_those_of_2016():
    change = {"kind": "day_ahead", "price": "german_2016", "adders": 0.0, "network": 0.0, "vat": 0}
    flat = {k: v for k, v in shipped("flat").items() if k not in ("base", "seasons")}
    retail = parse_tariff(flat | change).prices(START, 366, 60).retail
    # ENTSO-E and SMARD: mean 28.98, 97 hours below zero, the lowest on Sunday, 8 May.
    assert retail.mean() == pytest.approx(0.02898, abs=1e-5)
    assert (retail < 0).sum() == 97
    low = START + pd.Timedelta(hours=int(retail.argmin()))
    assert (retail.min(), low) == (pytest.approx(-0.13009, abs=1e-5), pd.Timestamp("2016-05-08 13"))
    with pytest.raises(ConfigError, match="did you mean 'german_2016'"):
        parse_tariff(flat | change | {"price": "german_2015"})


def test_a_day_ahead_price_takes_windows_of_the_network_charge(tmp_path):
    seasons = shipped("german_tou_all_year")["seasons"]
    windowed = day_ahead(tmp_path, np.full(24, 30.0), network={"seasons": seasons})
    prices = windowed.prices(START, 1, 60)
    assert prices.retail[18] - prices.retail[2] == pytest.approx((0.129 - 0.0411) * 1.19, rel=1e-5)
    np.testing.assert_allclose(prices.local_network[2], 0.43 * 0.0411 * 1.19, rtol=1e-5)


@pytest.mark.parametrize(
    ("price", "unit"),
    [(0.09, "cent_per_kwh"), (9.0, "per_kwh"), (90.0, "per_kwh"), (0.09, "per_mwh")],
)
def test_a_factor_between_units_does_not_pass(tmp_path, price, unit):
    time = pd.date_range(START, periods=24, freq="h")
    path = tmp_path / "prices.csv"
    pd.DataFrame({"t": time, "p": price}).to_csv(path, index=False)
    file = {"path": path, "time_column": "t", "time_zone": None, "column": "p", "unit": unit}
    with pytest.raises(DataError, match=r"set unit to one of.*or mean_between"):
        read_prices(PriceFile(**file), 60, START, 1)
    right = PriceFile(**file, mean_between=(1e-5, 1e3))
    assert read_prices(right, 60, START, 1)[0] == pytest.approx(price * PRICE_FACTOR[unit])
