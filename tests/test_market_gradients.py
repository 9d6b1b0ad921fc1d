"""Derivatives of payments and trades with respect to the orders, against central differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_markets import (
    context,
    further_apart,
    market,
    one_and_several,
    order,
    pick,
    placed_book,
    random_book,
)

from gridbazaar.envs.markets import MARKETS, Orders, Owners
from gridbazaar.envs.markets.network.trade_limits import broken_by

F64 = torch.float64
STEP = 1e-6
SMOOTH = tuple(name for name in MARKETS.names() if not MARKETS[name].no_gradient)


def books(placed, most=1):
    """Books and their context; on the feeder only those whose free trade breaks no limit."""
    if not placed:
        orders, at = random_book(3, B=12, N=9, most=most), context(12)
    else:
        orders, at = placed_book(3, B=24, N=9, most=most)
        free = market("uniform_auction").clear(orders, at)
        bears = torch.ones(24, dtype=torch.bool).index_fill(
            0, broken_by(at.by_order(orders.owners).grid, free.cleared_kw)[0], False
        )
        where = replace(
            at.grid,
            background_kw=at.grid.background_kw[bears],
            reactive_kvar=at.grid.reactive_kvar[bears],
        )
        orders = pick(orders, bears)
        at = replace(context(int(bears.sum())), grid=where)
    if most > 1:
        orders = further_apart(orders)
    history = torch.linspace(0.1, 0.3, 3, dtype=F64).expand(len(orders.quantity_kw), -1)
    return orders, replace(at, history=history)


def outcome(name, orders, at, quantity, price):
    """A weighted sum of what every market [B] clears and pays, in units of its largest order."""
    out = market(name).clear(replace(orders, quantity_kw=quantity, limit_price=price), at)
    g = torch.Generator().manual_seed(1)
    of_payment, of_power = torch.randn(2, *quantity.shape, generator=g, dtype=F64)
    size = orders.quantity_kw.abs().amax(-1)
    payment = (of_payment * out.payment_eur / at.slot_h).sum(-1)
    return (payment + (of_power * out.cleared_kw).sum(-1)) / size


@one_and_several
@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("name", SMOOTH)
def test_autograd_agrees_with_central_differences(name, placed, most):
    orders, at = books(placed, most)
    g = torch.Generator().manual_seed(2)
    shape = orders.quantity_kw.shape
    d_quantity = torch.randn(shape, generator=g, dtype=F64) * orders.quantity_kw
    d_price = 0.1 * torch.randn(shape, generator=g, dtype=F64)

    def moved(steps):
        quantity = orders.quantity_kw + steps * STEP * d_quantity
        return outcome(name, orders, at, quantity, orders.limit_price + steps * STEP * d_price)

    here, up, down = moved(0), moved(1), moved(-1)
    measured = (up - down) / (2 * STEP)
    # Where an order changes its rank, the two one-sided differences do not agree.
    smooth = (up + down - 2 * here).abs() / STEP < 1e-3 * (1 + measured.abs())
    assert smooth.sum() >= 0.75 * len(smooth)

    quantity, price = (x.clone().requires_grad_() for x in (orders.quantity_kw, orders.limit_price))
    value = outcome(name, orders, at, quantity, price)
    assert torch.equal(value.detach(), here)
    if not value.requires_grad:  # nothing is ever traded
        assert not measured.any()
        return
    slopes = torch.autograd.grad(value.sum(), (quantity, price), materialize_grads=True)
    assert all(slope.isfinite().all() for slope in slopes)
    expected = (slopes[0] * d_quantity + slopes[1] * d_price).sum(-1)
    torch.testing.assert_close(expected[smooth], measured[smooth], rtol=1e-6, atol=1e-6)


@one_and_several
@pytest.mark.parametrize("name", SMOOTH)
def test_books_without_trade_have_finite_slopes(name, most):
    orders = order([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0], [1.0, -1.0, 0.0]], [[0.2, 0.2, 0.2]] * 3)
    orders.limit_price[2, 0] = 0.3
    owners = None if most == 1 else Owners.of(torch.tensor([0, 1, 1]), 2)
    quantity, price = (x.clone().requires_grad_() for x in (orders.quantity_kw, orders.limit_price))
    out = market(name).clear(Orders(quantity, price, orders.arrival_s, owners), context(3))
    value = (out.payment_eur + out.cleared_kw + out.price).sum()
    if value.requires_grad:
        for slope in torch.autograd.grad(value, (quantity, price), materialize_grads=True):
            assert slope.isfinite().all()


@pytest.mark.parametrize("name", [name for name in MARKETS.names() if name not in SMOOTH])
def test_a_market_without_derivatives_gives_none(name):
    orders, at = books(placed=True)
    quantity = orders.quantity_kw.clone().requires_grad_()
    out = market(name).clear(replace(orders, quantity_kw=quantity), at)
    assert not out.payment_eur.requires_grad
    assert not out.cleared_kw.requires_grad
