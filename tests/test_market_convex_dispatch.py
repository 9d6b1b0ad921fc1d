"""Bilateral dispatch with convex costs and lower bounds, against a general optimiser."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, linprog, minimize
from test_markets import F64, clear, context, market, order, placed_book, random_book

from gridbazaar.envs.markets import clear_checked
from gridbazaar.envs.markets.pairs import preference

EXACT = {"regularisation": 1e-9, "tolerance": 1e-9}


def optimum(quantity, limit, cost, steepness, least):
    """Best trades by a general optimiser: kW of each order, and objective; None for none."""
    s, d = np.flatnonzero(quantity > 0), np.flatnonzero(quantity < 0)
    pairs = list(product(s, d))
    size = np.abs(quantity)
    to_seat = np.array([[float(n in pair) for pair in pairs] for n in range(len(quantity))])
    price = np.array([limit[i] - limit[j] + cost[i, j] for i, j in pairs])
    live = size > 0
    bend = np.where(live, steepness / np.where(live, size, 1.0), 0.0)

    def objective(y):
        traded = to_seat @ y
        return price @ y + (bend * traded**2).sum() / 2, price + to_seat.T @ (bend * traded)

    bounds = LinearConstraint(to_seat[live], least * size[live], size[live])
    feasible = linprog(
        price,
        np.concatenate([to_seat[live], -to_seat[live]]),
        np.concatenate([size[live], -least * size[live]]),
    )
    if not feasible.success:
        return None, None
    best = minimize(
        objective,
        feasible.x,
        jac=True,
        bounds=Bounds(0, np.inf),
        constraints=bounds,
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-13},
    )
    return np.sign(quantity) * (to_seat @ best.x), best.fun


@pytest.mark.parametrize("least", [0.0, 0.3])
@pytest.mark.parametrize("steepness", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("placed", [False, True])
def test_trades_are_those_of_a_quadratic_programme(steepness, least, placed):
    if steepness == least == 0:
        pytest.skip("the linear programme has tests of its own")
    B = 16
    orders, at = placed_book(31, B, N=8) if placed else (random_book(31, B=B, N=8), context(B))
    prices = {"distance_price": 0.03, "grey_price": 0.02}
    kind = market("bilateral_dispatch", **EXACT, **prices, steepness=steepness, least_share=least)
    out, solved = kind.clear(orders, at), 0
    cost = preference(at, kind.config)
    cost = cost.numpy() if placed else np.zeros((8, 8))
    for b in range(B):
        quantity, limit = orders.quantity_kw[b].numpy(), orders.limit_price[b].numpy()
        both = (quantity > 0).any() and (quantity < 0).any()
        kw, best = optimum(quantity, limit, cost, steepness, least) if both else (None, None)
        if kw is None:
            # What no trades allow is left to the grid; without a lower bound none is a solution.
            assert bool(out.converged[b]) == (least == 0)
            assert out.cleared_kw[b].abs().max() == 0
            continue
        solved += 1
        scale = np.abs(quantity).max()
        assert bool(out.converged[b])
        # The seats' trades are unique where their costs are curved.
        if steepness:
            assert out.cleared_kw[b].numpy() == pytest.approx(kw, abs=1e-3 * scale)
        elif not placed:
            worth = -(out.cleared_kw[b] * orders.limit_price[b]).sum().item()
            assert worth == pytest.approx(-best, rel=1e-5, abs=1e-6 * scale)
        assert (out.cleared_kw[b].abs().numpy() >= least * np.abs(quantity) - 1e-6 * scale).all()
    assert solved >= 5


def test_a_pair_meets_where_its_marginal_costs_do():
    """Ask 0.10 rising by 0.05, bid 0.30 falling by 0.05 a kW: 2 kW at 0.20 of both sides' 4."""
    book = order([[4.0, -4.0]], [[0.10, 0.30]])
    out = clear("bilateral_dispatch", book, **EXACT, steepness=0.2)
    assert out.cleared_kw[0].tolist() == pytest.approx([2, -2], abs=1e-5)
    assert out.reference_price.item() == pytest.approx(0.20, abs=1e-6)


def test_what_must_be_traded_is_traded_at_a_loss():
    book = order([[4.0, -4.0], [4.0, -1.0]], [[0.30, 0.10]] * 2)
    out = clear("bilateral_dispatch", book, **EXACT, least_share=0.5)
    assert out.cleared_kw[0].tolist() == pytest.approx([2, -2], abs=1e-5)
    # A seller that must sell 2 kW meets a buyer of 1.
    assert out.converged.tolist() == [True, False]
    assert out.cleared_kw[1].tolist() == [0, 0]
    free = clear("bilateral_dispatch", book, steepness=0.1)
    assert free.cleared_kw.abs().max() == 0
    assert free.converged.all()


def test_convex_costs_keep_the_laws_of_the_linear_ones():
    orders = random_book(32, B=32, N=9, most=3)
    kind = market("bilateral_dispatch", steepness=0.1)
    out = clear_checked(kind, orders, context(32))
    assert out.converged.all()
    assert out.cleared_kw.sum(-1).abs().max() < 1e-9
    assert out.operator_surplus_eur.abs().max() < 1e-9
    assert ((out.price - orders.limit_price) * out.cleared_kw.sign()).min() >= -1e-9
    linear = clear("bilateral_dispatch", orders)
    assert (out.volume_kw < linear.volume_kw + 1e-9).all()
    # The flatter the costs, the nearer to the linear ones.
    nearly = clear("bilateral_dispatch", orders, steepness=1e-7)
    torch.testing.assert_close(nearly.volume_kw, linear.volume_kw, rtol=1e-2, atol=1e-2)
    assert out.volume_kw.dtype is F64
