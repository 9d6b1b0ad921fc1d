"""Features made from data alone, against plain loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridbazaar.envs.features import lowest_of_next_day, own_features, public_features
from gridbazaar.envs.forecast import delayed
from gridbazaar.envs.observation import (
    DEVICE,
    FEATURES,
    OUTLOOK_HOURS,
    OWN,
    OWN_STATE,
    PUBLIC,
    PUBLIC_STATE,
    RATINGS,
    SCHEDULE,
    SEAT,
    USE,
    OwnState,
    PublicState,
    UseState,
)

DAY, DAYS = 24, 5  # slots of an hour
T = DAY * DAYS
RNG = np.random.default_rng(0)
LOAD, PV, _ = (RNG.random((T, 3)).astype(np.float32) for _ in range(3))
PRICE = RNG.random(T).astype(np.float32)
NET = (RNG.random(T) - 0.5).astype(np.float32)


def column(table, part, name):
    i = [feature.name for feature in part].index(name)
    return table[..., i] / part[i].scale


@pytest.fixture(scope="module")
def own():
    return own_features(LOAD, PV, delayed(LOAD, 1), delayed(PV, 1), 60)


@pytest.fixture(scope="module")
def public():
    start = pd.Timestamp("2016-07-01")
    return public_features(start, PRICE, PRICE * 0.3, PRICE * 0.1, NET, 60)


def test_forecasts_stand_among_the_features(own):
    np.testing.assert_allclose(column(own, OWN, "forecast_load")[1:], LOAD[:-1], rtol=1e-6)
    np.testing.assert_allclose(column(own, OWN, "forecast_pv")[1:], PV[:-1], rtol=1e-6)


@pytest.mark.parametrize("t", [24, 30, 47, 50, 71, 100])
def test_outlooks_are_yesterdays_meters(own, public, t):
    seen, end = slice(t - DAY, t - DAY + 4), (t // DAY) * DAY
    load_4h, load_left = column(own, OWN, "load_4h"), column(own, OWN, "load_left")
    np.testing.assert_allclose(load_4h[t], LOAD[seen].mean(0), rtol=1e-5)
    np.testing.assert_allclose(load_left[t], LOAD[t - DAY : end].sum(0), rtol=1e-5)
    np.testing.assert_allclose(column(own, OWN, "pv_left")[t], PV[t - DAY : end].sum(0), rtol=1e-5)
    assert column(public, PUBLIC, "community_net")[t] == pytest.approx(NET[t - DAY], rel=1e-5)
    for h in OUTLOOK_HOURS:
        mean = NET[t - DAY : t - DAY + h].mean()
        got = column(public, PUBLIC, f"community_net_{h}h")[t]
        assert got == pytest.approx(mean, rel=1e-4, abs=1e-6)
    surplus = np.maximum(NET[t - DAY : end], 0).sum()
    got = column(public, PUBLIC, "community_surplus_left")[t]
    assert got == pytest.approx(surplus, rel=1e-5)


@pytest.mark.parametrize("t", [0, 5, 23, 40, 119])
def test_prices_ahead_are_the_tariffs(public, t):
    rest = PRICE[t : (t // DAY + 1) * DAY]
    assert column(public, PUBLIC, "retail")[t] == pytest.approx(PRICE[t])
    assert column(public, PUBLIC, "retail_low")[t] == pytest.approx(rest.min())
    assert column(public, PUBLIC, "retail_high")[t] == pytest.approx(rest.max())
    for h in OUTLOOK_HOURS:
        ahead = PRICE[min(t + h, T - 1)]
        assert column(public, PUBLIC, f"retail_in_{h}h")[t] == pytest.approx(ahead)


def test_the_clock_tells_time(public):
    assert column(public, PUBLIC, "day_cos")[::DAY] == pytest.approx(1)
    assert column(public, PUBLIC, "day_left")[::DAY] == pytest.approx(1)
    assert column(public, PUBLIC, "day_left")[DAY - 1] == pytest.approx(1 / DAY)
    weekend = column(public, PUBLIC, "weekend")[::DAY]
    assert weekend.tolist() == [0, 1, 1, 0, 0]  # 1 July 2016 was a Friday


def test_the_lowest_price_of_the_next_day_looks_a_day_ahead():
    got = lowest_of_next_day(PRICE, 60)
    for t in (0, 13, 60, 90, 118):
        assert got[t] == pytest.approx(PRICE[t + 1 : t + 1 + DAY].min())
    assert got.shape == (T,)


def test_features_are_laid_out_as_documented():
    assert OwnState._fields == tuple(feature.name for feature in OWN_STATE)
    assert PublicState._fields == tuple(feature.name for feature in PUBLIC_STATE)
    assert UseState._fields == tuple(feature.name for feature in USE)
    parts = (*SEAT, *RATINGS, *PUBLIC, *OWN, *SCHEDULE, *DEVICE, *USE, *OWN_STATE, *PUBLIC_STATE)
    assert parts == FEATURES
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names)
    assert all(feature.scale > 0 and feature.unit and feature.meaning for feature in FEATURES)
