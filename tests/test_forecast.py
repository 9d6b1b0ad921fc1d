"""Forecasts of meters: what they may know, an exact case, and their error on days unseen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gridbazaar import envs
from gridbazaar.envs.forecast import forecast
from gridbazaar.envs.observation import OWN, scales
from gridbazaar.errors import DataError

DAY, DAYS, N = 24, 40, 3
TRAINING = np.repeat(np.arange(DAYS) % 4 != 3, DAY)


def drawn(seed=0):
    return np.random.default_rng(seed).random((DAYS * DAY, N))


def test_persistence_is_the_slot_before_and_perfect_the_slot_itself():
    kw = drawn()
    assert (forecast("persistence", kw, DAY, TRAINING, True)[1:] == kw[:-1]).all()
    assert (forecast("perfect", kw, DAY, TRAINING, True) == kw).all()


@pytest.mark.parametrize("steady", [True, False])
def test_what_follows_its_rule_is_forecast_exactly(steady):
    """Each seat's meter is a sum of its own lags, which one regression for all would miss."""
    kw = drawn() + 1
    own = np.array([0.1, 0.3, 0.5])
    for t in range(DAY + 1, len(kw)):
        kw[t] = own * kw[t - 1] + 0.1 * kw[t - 2] + (0.9 - own) * kw[t - DAY]
    expected = forecast("model", kw, DAY, TRAINING, steady)
    np.testing.assert_allclose(expected[2 * DAY :], kw[2 * DAY :], rtol=2e-3)


@pytest.mark.parametrize("slot", [3 * DAY, 3 * DAY + 7, 7 * DAY + 23])
def test_the_model_knows_neither_this_slot_nor_a_later_one_of_days_it_was_not_fitted_on(slot):
    """Test days are turned about from a slot on: nothing up to it moves, and later days do."""
    kw, turned = drawn(), drawn()
    test = ~TRAINING & (np.arange(len(kw)) >= slot)
    turned[test] = 1 - turned[test]
    before, after = (forecast("model", each, DAY, TRAINING, True) for each in (kw, turned))
    np.testing.assert_allclose(before[: slot + 1], after[: slot + 1], rtol=1e-9)
    assert (abs(before[slot + 1] - after[slot + 1]) > 1e-6).all()


def test_nothing_is_forecast_below_or_beyond_what_training_days_had():
    kw = drawn()
    kw[~TRAINING] *= 100
    expected = forecast("model", kw, DAY, TRAINING, False)
    assert expected.min() >= 0
    assert expected.max() <= kw[TRAINING].max()


def test_a_meter_that_never_moves_is_forecast_as_it_is():
    kw = np.zeros((DAYS * DAY, N), np.float32)
    assert (forecast("model", kw, DAY, TRAINING, True) == 0).all()


def test_too_few_training_days_are_one_line():
    with pytest.raises(DataError, match=r"no two training days in a row.*set forecast: persist"):
        forecast("model", drawn()[: 2 * DAY], DAY, TRAINING[: 2 * DAY] & False, True)


def test_the_model_errs_less_than_persistence_on_test_days(town):
    """In a world, of the load of all seats, and of their sun."""
    squares = {}
    for kind in ("persistence", "model"):
        c = town.build(envs.world(overrides=(f"task.rules.forecast={kind}",))).community
        rows = (c.days["test"][:, None] + torch.arange(c.slots_per_day)).flatten()
        expected = c.own[..., :2] / scales(OWN[:2], c.own)
        error = expected - torch.stack([c.load_kw, c.pv_kw], -1)
        squares[kind] = error[rows].square().mean((0, 1))
    assert (squares["model"] < squares["persistence"]).all(), squares
