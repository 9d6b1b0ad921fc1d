"""Menus of contracts: who signs what, and the largest profit by a general optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from gridbazaar.studies import charging_contracts as study


def drivers_drawn(seed, types=4):
    draw = np.random.default_rng(seed)
    share = draw.dirichlet(np.full(types, 1.0)).clip(0.02)
    worth = 0.2 + np.cumsum(draw.uniform(0.01, 0.2, types))
    return study.Drivers(worth, share / share.sum(), 30.0)


CASES = [drivers_drawn(seed) for seed in range(12)]


def test_some_cases_need_ironing_and_some_types_are_left_out():
    rising = [(np.diff(study.virtual_worth(d)) > 0).all() for d in CASES]
    assert 0 < sum(rising) < len(CASES)
    menus = [study.best_menu(d, 0.15).energy_kwh for d in CASES]
    assert any((energy == 0).any() for energy in menus)
    assert any((energy > 0).all() for energy in menus)


@pytest.mark.parametrize("supply", [np.inf, 5.0])
@pytest.mark.parametrize("drivers", CASES)
def test_every_type_signs_and_signs_its_own_contract(drivers, supply):
    menu = study.best_menu(drivers, 0.15, supply)
    gains = drivers.gains(menu)
    own = np.diag(gains)
    assert own.min() >= -1e-12
    assert (own[:, None] >= gains - 1e-9).all()
    assert own[0] == pytest.approx(0, abs=1e-12)
    assert (np.diff(menu.energy_kwh) >= -1e-9).all()
    assert menu.energy(drivers) <= supply + 1e-6


@pytest.mark.parametrize("supply", [np.inf, 5.0])
@pytest.mark.parametrize("drivers", CASES[:6])
def test_profit_is_the_largest_under_all_constraints(drivers, supply):
    """A general optimiser over energies and payments, every constraint written out."""
    price, K = 0.15, len(drivers.worth)

    def parts(z):
        return study.Menu(z[:K] * drivers.need_kwh, z[K:] * 10)

    def slack(z):
        menu = parts(z)
        gains = drivers.gains(menu)
        own = np.diag(gains)
        rows = [own, (own[:, None] - gains)[~np.eye(K, dtype=bool)]]
        if np.isfinite(supply):
            rows.append([supply - menu.energy(drivers)])
        return np.concatenate(rows)

    best = -np.inf
    for start in (0.1, 0.5):
        found = minimize(
            lambda z: -parts(z).profit(drivers, price),
            np.concatenate([np.full(K, start), np.zeros(K)]),
            bounds=[(0, 1)] * K + [(0, None)] * K,
            constraints={"type": "ineq", "fun": slack},
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )
        if slack(found.x).min() > -1e-6:
            best = max(best, -found.fun)
    ours = study.best_menu(drivers, price, supply).profit(drivers, price)
    assert ours == pytest.approx(best, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("drivers", CASES)
def test_the_highest_type_is_served_as_if_known_and_no_price_does_better(drivers):
    menu, known = study.best_menu(drivers, 0.15), study.full_information(drivers, 0.15)
    if (np.diff(study.virtual_worth(drivers)) > 0).all():
        assert menu.energy_kwh[-1] == pytest.approx(known.energy_kwh[-1])
    assert (menu.energy_kwh <= known.energy_kwh + 1e-9).all()
    profit = menu.profit(drivers, 0.15)
    assert study.best_tariff(drivers, 0.15).profit(drivers, 0.15) <= profit + 1e-9
    assert profit <= known.profit(drivers, 0.15) + 1e-9
    # Who sees the type can ask for everything; a driver who may choose would not sign that.
    gains = drivers.gains(known)
    assert (gains > np.diag(gains)[:, None] + 1e-3).any()


def test_what_is_no_distribution_of_types_is_named():
    worth, share = np.array([0.2, 0.3]), np.array([0.5, 0.5])
    with pytest.raises(ValueError, match="that rise"):
        study.Drivers(worth[::-1], share, 30.0)
    with pytest.raises(ValueError, match=r"share sums to 0\.8"):
        study.Drivers(worth, share * 0.8, 30.0)
    with pytest.raises(ValueError, match="supply_kwh"):
        study.best_menu(study.Drivers(worth, share, 30.0), 0.1, 0.0)
