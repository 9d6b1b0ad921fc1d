"""Smoothed clearing: the auction's as the width falls, laws at any width, and its derivatives."""

from __future__ import annotations

import pytest
import torch

from gridbazaar import envs
from gridbazaar.envs.markets import MARKETS, Context, Orders
from gridbazaar.envs.smoothing import accepted, smoothed_auction, smoothed_fill

F64 = torch.float64
FLOOR, CEILING = 0.08, 0.32


def book(markets=40, orders=24, seed=0):
    """Random orders, a third of them for must-run power at the grid's prices."""
    g = torch.Generator().manual_seed(seed)
    quantity = torch.randn(markets, orders, generator=g, dtype=F64) * 3
    limit = FLOOR + (CEILING - FLOOR) * torch.rand(markets, orders, generator=g, dtype=F64)
    must_run = torch.arange(orders) < orders // 3
    limit = torch.where(must_run & (quantity > 0), FLOOR, limit)
    limit = torch.where(must_run & (quantity < 0), CEILING, limit)
    return Orders(quantity, limit, torch.zeros_like(quantity)), must_run


def context(markets=40):
    price = torch.ones(markets, 1, dtype=F64)
    return Context(price * CEILING, price * FLOOR, 0.25, price.new_full((markets, 8), torch.nan))


def test_acceptance_is_a_step_without_width_and_half_at_the_limit_with_one():
    gain = torch.tensor([-1e-3, 0.0, 1e-3], dtype=F64)
    assert accepted(gain, 0.0).tolist() == [0, 1, 1]
    share = accepted(gain, 1e-3)
    assert share[1] == 0.5
    assert share.diff().min() > 0


@pytest.mark.parametrize("width", [0.03, 0.003])
def test_a_smoothed_market_balances_within_its_orders_and_the_grids_prices(width):
    orders, must_run = book()
    out = smoothed_auction(orders, context(), must_run, width)
    cleared = out.cleared_kw
    assert cleared.sum(-1).abs().max() < 1e-9
    assert (cleared * orders.quantity_kw >= 0).all()
    assert (cleared.abs() <= orders.quantity_kw.abs() + 1e-12).all()
    price = out.reference_price
    assert ((price >= FLOOR) & (price <= CEILING)).all()
    assert out.payment_eur.sum(-1).abs().max() < 1e-9


def test_with_less_width_it_is_nearer_to_the_auction_and_in_the_end_the_same():
    orders, must_run = book()
    kind = MARKETS["uniform_auction"]
    auction = kind(kind.Config(name="uniform_auction", k=0.5)).clear(orders, context())

    def miss(width):
        smoothed = smoothed_auction(orders, context(), must_run, width)
        volume = auction.cleared_kw.abs().sum()
        return float((smoothed.cleared_kw - auction.cleared_kw).abs().sum() / volume)

    misses = [miss(width) for width in (0.03, 0.01, 0.003, 0.001)]
    assert misses == sorted(misses, reverse=True)
    assert misses[-1] < 0.02
    assert misses[0] > 0.1


def test_the_derivatives_are_those_of_the_balance():
    orders, must_run = book(markets=12)
    low, high = (torch.full((12, 1), price, dtype=F64) for price in (FLOOR, CEILING))
    firm = must_run.expand_as(orders.quantity_kw)
    g = torch.Generator().manual_seed(1)
    weight, along_q, along_p = torch.randn(3, *orders.quantity_kw.shape, generator=g, dtype=F64)

    def value(step):
        quantity = orders.quantity_kw + step * along_q
        limit = orders.limit_price + step * along_p * 0.01
        cleared, price = smoothed_fill(quantity, limit, firm, low, high, 0.02)
        return (weight * cleared).sum(-1) + price.squeeze(-1)

    step = torch.zeros((), dtype=F64, requires_grad=True)
    slopes = torch.autograd.functional.jacobian(value, step)
    far = 1e-3  # beyond what the search for the price leaves open
    with torch.no_grad():
        measured = (value(step + far) - value(step - far)) / (2 * far)
    close = torch.isclose(slopes, measured, rtol=0.02, atol=0.02)
    assert close.double().mean() > 0.9  # a market at the floor or the ceiling may leave it


@pytest.mark.parametrize("quantity", ["committed", "metered"])
def test_a_day_of_smoothed_markets_conserves_energy_and_money(quantity):
    words = [f"task.rules.quantity={quantity}"]
    if quantity == "metered":
        words.append("task.rules.firming=none")
    sim = envs.batched(task="small", num_envs=3, dtype=F64, overrides=words)
    sim.smoothing = 0.01
    sim.reset(seed=5)
    g = torch.Generator().manual_seed(3)
    shape = (3, sim.num_seats, len(sim.game.layout.actions))
    for _ in range(24):
        interval = sim.step(2 * torch.rand(shape, generator=g, dtype=F64) - 1)
        assert sum(interval.bill.accounts.values()).abs().max() < 1e-9
        assert interval.bill.accounts["pool"].min() > -1e-9
        left = interval.traded.net_kw.sum(-1) - interval.bill.grid_kw.sum(-1)
        assert left.abs().max() < 1e-6


def test_no_market_is_smoothed_unless_asked():
    assert envs.batched(task="small", num_envs=1).smoothing == 0
    assert "smoothed_auction" not in MARKETS
