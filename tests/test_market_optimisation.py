"""Bilateral dispatch and its two distributed forms reach the optimum that HiGHS finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.markets import MARKETS, Context, GridContext, Orders, clear_checked
from gridbazaar.envs.markets.bilateral.admm import negotiate, residual_curves, start
from gridbazaar.envs.markets.bilateral.admm_parallel import PARTNERS
from gridbazaar.envs.markets.bilateral.admm_sequential import CONTRACT
from gridbazaar.envs.markets.bilateral.transport import optimise
from gridbazaar.envs.markets.pairs import pair_up, preference

F64 = torch.float64
NAMES = ("bilateral_dispatch", "admm_sequential", "admm_parallel")
FORMS = (CONTRACT, PARTNERS)
SEATS = 12


def market(name, **parameters):
    kind = MARKETS[name]
    return kind(validate(kind.Config, {**option("market", name), **parameters}))


def communities(B=100, N=SEATS, seed=0):
    """Random books on a random plane with some green seats."""
    g = torch.Generator().manual_seed(seed)
    quantity = torch.rand(B, N, generator=g, dtype=F64) * 10 - 5
    price = 0.08 + 0.26 * torch.rand(B, N, generator=g, dtype=F64)
    spot = torch.rand(N, 2, generator=g, dtype=F64)
    place = GridContext(
        distance=torch.cdist(spot, spot),
        green=torch.arange(N) % 2 == 0,
        solver=None,
        limits=None,
        to_bus=torch.eye(N, dtype=F64),
        background_kw=torch.zeros(B, N, dtype=F64),
        reactive_kvar=torch.zeros(B, N, dtype=F64),
    )
    low, high = torch.full((B, 1), 0.08, dtype=F64), torch.full((B, 1), 0.34, dtype=F64)
    return Orders(quantity, price, torch.zeros(B, N, dtype=F64)), Context(
        buyer_ceiling=high, seller_floor=low, slot_h=0.25, grid=place
    )


def best_welfare(orders, cost, b):
    """Solve one market's transport problem over all pairs by HiGHS, [EUR/h]."""
    quantity, limit = orders.quantity_kw[b].numpy(), orders.limit_price[b].numpy()
    sellers, buyers = np.flatnonzero(quantity > 0), np.flatnonzero(quantity < 0)
    if not len(sellers) or not len(buyers):
        return 0.0
    gain = limit[buyers][None] - limit[sellers][:, None] - cost[np.ix_(sellers, buyers)]
    S, K = gain.shape
    rows = np.kron(np.eye(S), np.ones(K))
    columns = np.kron(np.ones(S), np.eye(K))
    solved = linprog(
        -gain.ravel(),
        A_ub=np.vstack([rows, columns]),
        b_ub=np.abs(np.r_[quantity[sellers], quantity[buyers]]),
        method="highs",
    )
    return -solved.fun


@pytest.fixture(scope="module")
def hundred():
    orders, context = communities()
    config = market("bilateral_dispatch", distance_price=0.05, grey_price=0.03).config
    cost = preference(context, config).numpy()
    best = torch.tensor([best_welfare(orders, cost, b) for b in range(100)], dtype=F64)
    return orders, context, torch.as_tensor(cost), best


def served_welfare(clearing, orders, cost):
    """The most welfare that the cleared quantities allow, pairs chosen by HiGHS."""
    cleared = Orders(clearing.cleared_kw, orders.limit_price, orders.arrival_s)
    numbers = [best_welfare(cleared, cost.numpy(), b) for b in range(len(cleared.quantity_kw))]
    return torch.tensor(numbers, dtype=F64)


@pytest.mark.parametrize("name", NAMES)
def test_the_optimum_is_reached_on_a_hundred_communities(name, hundred):
    orders, context, cost, best = hundred
    out = market(name, distance_price=0.05, grey_price=0.03).clear(orders, context)
    assert out.converged.all()
    reached = served_welfare(out, orders, cost)
    assert (reached >= best * (1 - 1e-3) - 1e-12).all()
    assert (reached <= best * (1 + 1e-9) + 1e-12).all()


def test_the_trades_by_pair_are_within_the_tolerance_of_the_optimum(hundred):
    orders, _, cost, best = hundred
    book = pair_up(orders, cost)
    config = market("bilateral_dispatch").config
    solved = optimise(book, config.regularisation, config.tolerance, config.max_steps)
    agreed = [negotiate(book, market(NAMES[1]).config, form).pair_kw for form in FORMS]
    for pair_kw in (solved.pair_kw, *map(book.within, agreed)):
        assert (pair_kw.sum(-1) <= book.supply_kw + 1e-9).all()
        assert (pair_kw.sum(-2) <= book.demand_kw + 1e-9).all()
        torch.testing.assert_close(book.welfare(pair_kw), best, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(book.welfare(solved.pair_kw), best, rtol=1e-4, atol=1e-9)


def test_dispatch_prices_are_the_multipliers_of_the_pairs(hundred):
    orders, context, _, _ = hundred
    out = market("bilateral_dispatch", distance_price=0.05, grey_price=0.03).clear(orders, context)
    sold, bought = out.cleared_kw > 1e-9, out.cleared_kw < -1e-9
    partly = (out.cleared_kw.abs() < orders.quantity_kw.abs() * (1 - 1e-6)) & sold
    torch.testing.assert_close(
        out.price[partly], orders.limit_price[partly], rtol=0, atol=1e-4, msg="marginal seller"
    )
    assert (out.price[sold] >= orders.limit_price[sold] - 1e-12).all()
    assert (out.price[bought] <= orders.limit_price[bought] + 1e-12).all()


def test_without_preferences_the_dispatch_trades_the_uniform_auctions_volume(hundred):
    orders, context, _, _ = hundred
    out = market("bilateral_dispatch", distance_price=0.0, grey_price=0.0).clear(orders, context)
    auction = market("uniform_auction").clear(orders, context)
    torch.testing.assert_close(out.cleared_kw, auction.cleared_kw, rtol=0, atol=2e-3)


def test_near_and_green_partners_are_preferred():
    distance = torch.tensor([[0.0, 1, 1], [1, 0, 2], [1, 2, 0]], dtype=F64)

    def sells(green, distance):
        place = GridContext(distance, torch.tensor(green), None, None, *[torch.zeros(1, 3)] * 3)
        context = Context(torch.tensor([[0.34]]), torch.tensor([[0.08]]), 0.25, grid=place)
        orders = Orders(
            torch.tensor([[-2.0, 2.0, 2.0]], dtype=F64),
            torch.tensor([[0.3, 0.1, 0.1]], dtype=F64),
            torch.zeros(1, 3, dtype=F64),
        )
        return market("bilateral_dispatch").clear(orders, context).cleared_kw[0].tolist()

    assert sells([False, True, False], distance) == pytest.approx([-2, 2, 0], abs=1e-6)
    distance[0, 2] = distance[2, 0] = 0.5
    assert sells([False, False, False], distance) == pytest.approx([-2, 0, 2], abs=1e-6)
    distance[0, 2] = distance[2, 0] = 1.0
    assert sells([False, True, True], distance) == pytest.approx([-2, 1, 1], abs=1e-6)


def test_a_place_of_another_community_is_refused(hundred):
    orders, context, _, _ = hundred
    fewer = Orders(orders.quantity_kw[:, 1:], orders.limit_price[:, 1:], orders.arrival_s[:, 1:])
    with pytest.raises(ValueError, match=r"grid.distance has shape \(12, 12\), expected"):
        clear_checked(market("bilateral_dispatch"), fewer, context)


def local_argmin(slope, centre, rho, side, limit):
    """argmin slope.y + sum rho/2 (y - centre)^2, side * y >= 0, side * sum y <= limit, by SLSQP."""
    found = minimize(
        lambda y: slope @ y + (rho * (y - centre) ** 2).sum() / 2,
        np.full(len(centre), side * limit / len(centre) / 2),
        jac=lambda y: slope + rho * (y - centre),
        bounds=[(0, None) if side > 0 else (None, 0)] * len(centre),
        constraints={"type": "ineq", "fun": lambda y: limit - side * y.sum()},
        options={"ftol": 1e-15, "maxiter": 300},
        method="SLSQP",
    )
    return found.x


def seats_of(book, rho):
    """One market as the papers have it: [n, n] over all seats, slopes of f_i, and rho_ij."""
    S, K = book.gain.shape[1:]
    supply, demand = book.supply_kw[0].numpy(), book.demand_kw[0].numpy()
    weight = rho * book.largest_gain.item() * book.traded_kw.item() / np.outer(supply, demand)
    rho_ij, slope = np.zeros((S + K, S + K)), np.zeros((S + K, S + K))
    rho_ij[:S, S:] = weight
    slope[:S, S:] = book.ask[0].numpy()[:, None]
    slope[S:, :S] = book.bid[0].numpy()[:, None]
    start_price = np.zeros((S + K, S + K))
    start_price[:S, S:] = (book.ask[0].numpy()[:, None] + book.bid[0].numpy()) / 2
    side = np.repeat([1, -1], [S, K])
    both = (rho_ij + rho_ij.T, slope, start_price + start_price.T)
    return *both, side, np.r_[supply, demand]


def proposals(centre, slope, rho, side, limit):
    """First line of both equations: every seat's own problem, centre as the square has it."""
    y = np.zeros_like(rho)
    for i in range(len(side)):
        others = side != side[i]
        y[i, others] = local_argmin(
            slope[i, others], centre[i, others], rho[i, others], side[i], limit[i]
        )
    return y


def equation_2(book, scaled_rho, rounds):
    """The sequential form as printed, the contract's problem by its first-order condition."""
    rho, slope, price, side, limit = seats_of(book, scaled_rho)
    trades = rho > 0
    z, lam = np.zeros_like(rho), -price
    safe = np.where(trades, rho, 1.0)
    for _ in range(rounds):
        y = proposals(z - lam / safe, slope, rho, side, limit)
        a = y + lam / safe
        z = np.where(trades, (a - a.T) / 2, 0.0)
        lam = lam + rho * (y - z)
        yield y, -lam


def equation_3(book, scaled_rho, rounds):
    """The parallel form as printed."""
    rho, slope, lam, side, limit = seats_of(book, scaled_rho)
    y = np.zeros_like(rho)
    safe = np.where(rho > 0, rho, 1.0)
    for _ in range(rounds):
        y = proposals((y - y.T) / 2 + lam / safe, slope, rho, side, limit)
        lam = lam - rho / 2 * (y + y.T)
        yield y, lam


@pytest.mark.parametrize("form", FORMS, ids=["sequential", "parallel"])
@pytest.mark.parametrize("printed", [equation_2, equation_3])
def test_every_round_is_that_of_both_published_equations(form, printed):
    """Round by round over all seats: the two forms are one iteration, as the docstring proves."""
    quantity = torch.tensor([[3.0, 2.0, -2.0, -4.0, 1.5]], dtype=F64)
    limit = torch.tensor([[0.10, 0.20, 0.30, 0.28, 0.15]], dtype=F64)
    orders = Orders(quantity, limit, torch.zeros(1, 5, dtype=F64))
    config = market("admm_sequential", relaxation=1.0, rho=0.3).config
    book = pair_up(orders, 0.0)
    S = book.gain.shape[1]
    at = start(book, form.price_sign)
    kw = at.size[0].numpy() * book.traded_kw.item()
    for y, price in printed(book, config.rho, 8):
        at = form.play(at, config)
        sold, bought = at.proposal[0].numpy() * kw
        np.testing.assert_allclose(sold, y[:S, S:], atol=2e-5)
        np.testing.assert_allclose(bought, y[S:, :S].T, atol=2e-5)
        mine = at.margin[0].numpy() * book.largest_gain.item() + book.ask[0].numpy()[:, None]
        np.testing.assert_allclose(mine, price[:S, S:], atol=1e-5)


def test_relaxed_rounds_of_both_forms_are_the_same(hundred):
    orders, _, cost, _ = hundred
    book, config = pair_up(orders, cost), market("admm_parallel").config
    contract, partners = (start(book, form.price_sign) for form in FORMS)
    for _ in range(50):
        contract, partners = CONTRACT.play(contract, config), PARTNERS.play(partners, config)
        torch.testing.assert_close(contract.proposal, partners.proposal, rtol=0, atol=1e-12)
        torch.testing.assert_close(contract.multiplier, -partners.multiplier, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=["sequential", "parallel"])
def test_residuals_fall_to_nothing(form, hundred):
    orders, context, _, _ = hundred
    curves = residual_curves(orders, context, market("admm_parallel").config, form, 400)
    assert curves.primal.shape == (400, 100)
    for curve in (curves.primal, curves.dual):
        left = curve[-50:].amax(0) / curve[:50].amax(0).clamp(min=1e-9)
        assert left.median() < 0.01
        assert left.quantile(0.9) < 0.05
    assert curves.gap[-1].median() < 1e-3
    assert (curves.gap >= -1e-9).all()


def test_messages_are_a_proposal_per_seat_or_two_per_pair(hundred):
    orders, context, _, _ = hundred
    one = Orders(orders.quantity_kw[:1], orders.limit_price[:1], orders.arrival_s[:1])
    alone = Context(context.buyer_ceiling[:1], context.seller_floor[:1], 0.25)
    contract, partners = (market(n).clear(one, alone) for n in NAMES[1:])
    book = pair_up(one, 0.0)
    pairs = int(book.open.sum())
    seats = int(book.open.any(-1).sum() + book.open.any(-2).sum())
    assert contract.iterations == partners.iterations > 1
    assert contract.messages == contract.iterations * seats
    assert partners.messages == partners.iterations * 2 * pairs


@pytest.mark.parametrize(
    ("name", "given_up"),
    [("bilateral_dispatch", {"max_steps": 2}), ("admm_sequential", {"max_rounds": 3})],
)
def test_what_does_not_converge_trades_nothing(name, given_up, hundred):
    orders, context, _, _ = hundred
    out = market(name, **given_up).clear(orders, context)
    lost = ~out.converged
    assert lost.any()
    for values in (out.cleared_kw, out.price, out.payment_eur):
        assert (values[lost] == 0).all()
    assert out.reference_price[lost].isnan().all()
