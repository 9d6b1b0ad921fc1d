"""Seats with several orders: nobody trades with itself, and splitting an order changes nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference import double_auction as slow
from test_market_games import followed, merit
from test_markets import (
    F64,
    clear,
    context,
    every_market,
    market,
    one_and_several,
    placed_book,
    random_book,
    random_owners,
)
from torch import Tensor

from gridbazaar.envs.markets import MARKETS, Orders, Owners, clear_checked, uncrossed
from gridbazaar.envs.markets.games.price_game import equilibrium_of_seats
from gridbazaar.envs.markets.network.trade_limits import broken_by

Array = NDArray[np.float64]
close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)
both_kinds_of_book = pytest.mark.parametrize("ties", [False, True], ids=["random", "ties"])

# In which a seat may sell to one neighbour and buy from another: trades are pair by pair, as they
# arrive, or at prices of the sellers' own.
TWO_SIDED = (
    "admm_parallel",
    "admm_sequential",
    "bilateral_dispatch",
    "continuous",
    "dynamic_grid_tariff",
    "quartierstrom_auction",
    "stable_matching",
    "stackelberg_sellers",
    "two_stage",
)


def crossed_book(seed: int, ties: bool = False, N: int = 9) -> Orders:
    """Books in which seats bid above their own asks."""
    owners = random_owners(seed, N, 3)
    orders = random_book(seed, 24, len(owners.seat), ties)
    return replace(orders, owners=owners, arrival_s=owners.of_seat(orders.arrival_s[:, :N]))


def listed(orders: Orders, b: int) -> list[slow.Order]:
    """Return a market's orders for the slow clearing."""
    rows = (orders.owners.seat, orders.quantity_kw[b], orders.limit_price[b])
    return list(zip(*(values.tolist() for values in rows), strict=True))


def sides(orders: Orders, cleared_kw: Tensor) -> tuple[Tensor, Tensor]:
    return tuple(orders.by_seat((cleared_kw * side).clamp(min=0)) for side in (1, -1))


@every_market
@both_kinds_of_book
def test_nobody_trades_with_itself(name, ties):
    """A seat's sales and purchases have partners enough without it."""
    orders = crossed_book(0, ties)
    out = clear_checked(market(name), orders, context(24))
    sold, bought = sides(orders, out.cleared_kw)
    assert (sold + bought <= out.volume_kw.unsqueeze(-1) + 1e-9).all()
    if name not in TWO_SIDED:
        assert torch.minimum(sold, bought).max() < 1e-9


@every_market
@pytest.mark.parametrize(("ask", "bid"), [(0.1, 0.3), (0.2, 0.2), (0.3, 0.1), (0.0, 0.0)])
def test_a_seat_alone_trades_nothing(name, ask, bid):
    owners = Owners.of(torch.tensor([1, 1, 1]), 2)
    quantity = torch.tensor([[2.0, -3.0, 1.0]], dtype=F64)
    price = torch.tensor([[ask, bid, 0.4]], dtype=F64)
    orders = Orders(quantity, price, torch.zeros_like(price), owners)
    out = clear_checked(market(name), orders, context(1, low=-0.1))
    assert out.cleared_kw.abs().sum() == 0
    assert out.reference_price.isnan().all()


def test_only_bids_that_reach_their_own_asks_are_lowered():
    orders = crossed_book(1, ties=True)
    price = uncrossed(orders).limit_price
    seat = orders.owners.seat
    crosses = torch.zeros_like(price, dtype=torch.bool)
    for i, j in itertools.permutations(range(len(seat)), 2):
        if seat[i] == seat[j]:
            bid, ask = orders.quantity_kw[:, i] < 0, orders.quantity_kw[:, j] > 0
            crosses[:, i] |= bid & ask & (orders.limit_price[:, i] >= orders.limit_price[:, j])
            assert (price[:, i] < price[:, j])[bid & ask].all()
    assert torch.equal(price != orders.limit_price, crosses)
    assert crosses.any()
    one_each = random_book(2)
    assert uncrossed(one_each) is one_each


@every_market
@both_kinds_of_book
def test_splitting_an_order_changes_nothing(name, ties):
    """Two orders of a seat at one price are worth what they are as one."""
    whole = random_book(3, B=24, N=10, ties=ties)
    part = torch.rand(10, generator=torch.Generator().manual_seed(3), dtype=F64)
    halves = [whole.quantity_kw * share for share in (part, 1 - part)]
    twice = [torch.cat([x, x], 1) for x in (whole.limit_price, whole.arrival_s)]
    owners = Owners.of(torch.arange(10).repeat(2), 10)
    split = Orders(torch.cat(halves, 1), *twice, owners)
    one, two = clear(name, whole), clear(name, split)
    # Solved to a tolerance; ties leave the last many optima.
    loose = {"admm_parallel": 1e-3, "admm_sequential": 1e-3, "bilateral_dispatch": 1e-2}
    near = {"atol": loose.get(name, 1e-8), "rtol": loose.get(name, 1e-8)}
    close(split.by_seat(two.cleared_kw), one.cleared_kw, **near)
    close(split.by_seat(two.payment_eur), one.payment_eur, **near)
    assert torch.equal(two.converged, one.converged)
    if name not in loose:
        assert torch.equal(two.messages, one.messages)


@both_kinds_of_book
def test_auctions_trade_what_the_slow_clearing_trades(ties):
    orders = random_book(4, B=40, N=8, ties=ties, most=3)
    out, by_pairs = clear("uniform_auction", orders, k=0.25), clear("pay_as_bid", orders, k=0.25)
    close(by_pairs.cleared_kw, out.cleared_kw)
    traded = 0
    for b in range(40):
        book = listed(orders, b)
        volume, ask, bid = slow.largest_volume(book)
        close(out.cleared_kw[b], torch.tensor(slow.fills(book), dtype=F64))
        if volume > 0:
            traded += 1
            assert out.reference_price[b].item() == pytest.approx(0.25 * bid + 0.75 * ask)
    assert traded > 20


@both_kinds_of_book
def test_vcg_pays_a_seat_what_the_others_lose_without_all_its_orders(ties):
    orders = random_book(5, B=40, N=8, ties=ties, most=3)
    out = clear("vcg", orders)
    gain = orders.by_seat(out.payment_eur / 0.25 - out.cleared_kw * orders.limit_price)
    for b in range(40):
        close(gain[b], torch.tensor(slow.pivots(listed(orders, b), 8), dtype=F64))


@both_kinds_of_book
@pytest.mark.parametrize("samples", [None, 4000])
def test_shapley_shares_the_surplus_among_seats(ties, samples):
    orders = random_book(6, B=12, N=6, ties=ties, most=3)
    drawn = {} if samples is None else {"samples": samples, "exact_players": 1}
    out = clear("shapley", orders, counted_orders="all", **drawn)
    gain = orders.by_seat(out.payment_eur / 0.25 - out.cleared_kw * orders.limit_price)
    for b in range(12):
        expected = torch.tensor(slow.shapley(listed(orders, b), 6), dtype=F64)
        accuracy = 1e-9 if samples is None else 0.02
        torch.testing.assert_close(gain[b], expected, rtol=0, atol=accuracy)


def test_no_group_of_seats_gains_by_leaving_the_nucleolus():
    orders = random_book(7, B=24, N=6, most=3)
    out = clear("nucleolus", orders)
    assert out.converged.all()
    gain = orders.by_seat(out.payment_eur / 0.25 - out.cleared_kw * orders.limit_price)
    for b in range(24):
        book = listed(orders, b)
        assert gain[b].sum().item() == pytest.approx(slow.surplus(book))
        for size in range(1, 6):
            for group in itertools.combinations(range(6), size):
                alone = slow.surplus(order for order in book if order[0] in group)
                assert gain[b, list(group)].sum().item() >= alone - 1e-9


@both_kinds_of_book
def test_continuous_is_played_by_hand_order_by_order(ties):
    orders = crossed_book(8, ties)
    arrival = orders.arrival_s + orders.owners.seat * 1e-3
    orders = uncrossed(replace(orders, arrival_s=arrival))
    out = clear("continuous", orders)
    for b in range(24):
        cleared, money = slow.continuous(listed(orders, b), arrival[b].tolist())
        # Orders of one seat at one price share what the slow one fills in turn.
        for values, expected in ((out.cleared_kw[b], cleared), (out.payment_eur[b] / 0.25, money)):
            expected = torch.tensor(expected, dtype=F64)
            close(orders.owners.total(values), orders.owners.total(expected))


@pytest.mark.parametrize("name", ["mcafee", "mid_market_rate"])
def test_a_seat_with_several_orders_may_gain_by_one_of_them(name):
    """Why their claim to be truthful is of seats with one order."""
    orders = random_book(9, B=64, N=6, most=3)
    honest, most = clear(name, orders), 0.0
    for order in range(orders.quantity_kw.shape[1]):
        for shift in (-0.1, 0.1):
            price = orders.limit_price.clone()
            price[:, order] += shift
            lied = clear(name, uncrossed(replace(orders, limit_price=price)))
            paid = lied.payment_eur - honest.payment_eur
            gain = paid / 0.25 - (lied.cleared_kw - honest.cleared_kw) * orders.limit_price
            most = max(most, orders.by_seat(gain)[:, orders.owners.seat[order]].max().item())
    assert most > 1e-3


@every_market
def test_an_order_is_where_its_seat_is(name):
    """Seats on one side only: their orders fare as those of neighbours at the same bus."""
    orders, at = placed_book(11, B=12, N=9, most=3)
    owners = orders.owners
    side = torch.where(torch.arange(9) % 2 == 0, 1.0, -1.0).to(F64)
    orders = replace(orders, quantity_kw=orders.quantity_kw.abs() * owners.of_seat(side))
    seats = replace(orders, owners=None)
    beside = replace(at, grid=at.grid.by_order(owners))
    same_by_seat = {
        "equal_increment",
        "kelly",
        "nucleolus",
        "price_game",
        "shapley",
        "stackelberg_sellers",
    }
    if name in {*same_by_seat, "kelly", "vcg", "two_stage"}:
        pytest.skip("counts seats")
    shares = {"allocation": "pro_rata"} if name == "operating_envelope" else {}
    kind = market(name, **shares)
    one, two = kind.clear(orders, at), kind.clear(seats, beside)
    for field in ("cleared_kw", "payment_eur", "reference_price"):
        torch.testing.assert_close(getattr(one, field), getattr(two, field), equal_nan=True)


@pytest.mark.parametrize("name", ["locational_price", "operating_envelope", "curtailed_auction"])
def test_trades_of_several_orders_break_no_limit(name):
    orders, at = placed_book(18, most=3)
    free, grid = clear("uniform_auction", orders).cleared_kw, at.grid.by_order(orders.owners)
    assert len(broken_by(grid, free)[0])
    out = market(name).clear(orders, at)
    assert not len(broken_by(grid, out.cleared_kw)[0])
    assert (out.volume_kw > 0).any()


def test_an_order_may_be_grey_whose_seat_has_sun():
    """A battery's give is not sun: buyers like it less than the same seat's surplus."""
    _, at = placed_book(12, B=1, N=3)
    at = replace(at, grid=replace(at.grid, green=torch.ones(3, dtype=torch.bool)))
    seat = torch.tensor([0, 0, 1])
    quantity = torch.tensor([[2.0, 2.0, -2.0]], dtype=F64)
    price = torch.tensor([[0.1, 0.1, 0.3]], dtype=F64)
    for name, green in itertools.product(("stable_matching", "bilateral_dispatch"), range(2)):
        kinds = torch.arange(3) == green
        orders = Orders(quantity, price, torch.zeros_like(price), Owners.of(seat, 3, kinds))
        out = market(name).clear(orders, at)
        assert out.cleared_kw[0, green].item() == pytest.approx(2, abs=1e-3)


def test_a_seat_writes_one_message_for_all_its_orders():
    owners = Owners.of(torch.tensor([0, 0, 1, 1, 2]), 3)
    quantity = torch.tensor([[1.0, 2.0, -1.0, -1.0, -3.0]], dtype=F64)
    price = torch.tensor([[0.1, 0.12, 0.3, 0.28, 0.2]], dtype=F64)
    orders = Orders(quantity, price, torch.zeros_like(price), owners)
    contract, partners = (clear(f"admm_{form}", orders) for form in ("sequential", "parallel"))
    assert torch.equal(contract.messages, 3 * contract.iterations)
    assert torch.equal(partners.messages, 4 * partners.iterations)
    called = clear("iterative", orders)
    assert torch.equal(called.messages, 3 * called.iterations)


def test_the_uniform_rule_counts_seats():
    """Four kW for a seat with two orders and a seat with one: each gets two, the best first."""
    owners = Owners.of(torch.tensor([0, 0, 1, 2]), 3)
    quantity = torch.tensor([[3.0, 1.5, 9.0, -4.0]], dtype=F64)
    price = torch.tensor([[0.15, 0.1, 0.1, 0.3]], dtype=F64)
    out = clear("equal_increment", Orders(quantity, price, torch.zeros_like(price), owners))
    assert out.cleared_kw[0].tolist() == pytest.approx([0.5, 1.5, 2.0, -4.0])


@both_kinds_of_book
def test_no_seller_of_several_orders_gains_by_another_price(ties):
    """Whoever draws the lot; every deviation of a seat is computed anew, order by order."""
    orders = random_book(16, B=24, N=7, ties=ties, most=3)
    owners, several = orders.owners, 0
    found = equilibrium_of_seats(orders.quantity_kw, orders.limit_price, owners)
    for b in range(24):
        kw, limit = orders.quantity_kw[b].numpy(), orders.limit_price[b].numpy()
        sells, level = kw > 0, found.price[b].item()
        cost, size, seat = limit[sells], kw[sells], owners.seat.numpy()[sells]
        bids, demand = limit[kw < 0], -kw[kw < 0]
        drawn = np.unique(seat[found.setter[b].numpy()[sells]])
        lots = np.array([size[(seat == s) & (cost < level)].sum() for s in drawn])
        sold_on_average = np.zeros(len(cost))
        draws = list(zip(lots / lots.sum(), drawn, strict=True)) if len(drawn) else [(1.0, None)]
        for lot, setter in draws:
            # Nobody asks below its cost.
            asks = np.where(seat == setter, np.maximum(cost, level), cost)
            sold, price = merit(asks, cost, size, bids, demand)
            sold_on_average += lot * sold
            assert price == pytest.approx(level)
            gain = np.where(sold > 0, sold * (np.where(sold > 0, price, 0) - cost), 0)
            for who in np.unique(seat):
                several += (seat == who).sum() > 1
                near = np.r_[bids, asks, level] if sold.any() else bids
                for other in np.unique([near - 1e-4, near - 1e-9, near, near + 1e-4]):
                    moved = np.where(seat == who, np.maximum(cost, other), asks)
                    got, reached = merit(moved, cost, size, bids, demand)
                    own = (got > 0) & (seat == who)
                    earned = (got[own] * (reached - cost[own])).sum()
                    assert earned <= gain[seat == who].sum() + 1e-9
        assert owners.total(found.sold_kw)[b].sum() == pytest.approx(sold_on_average.sum())
        assert found.sold_kw[b].numpy()[sells] == pytest.approx(sold_on_average)
    assert several > 20


def earned_by(
    i: int, posted: Array, steps: list[list[tuple[float, float]]], bids: Array, demand: Array
) -> float:
    """Return what leading seller i earns, its (cost, kW) steps sold in turn, by the formulas."""
    supply = np.array([sum(kw for _, kw in own) for own in steps])
    config = market("stackelberg_sellers").config
    split, bought = followed(None, supply, bids, demand, posted, config)
    left, total = split[i] * bought.sum(), 0.0
    for cost, most in sorted(steps[i]):
        part = min(left, most) if cost <= posted[i] else 0.0
        total, left = total + part * (posted[i] - cost), left - part
    return total


def test_no_leading_seller_of_several_orders_gains_by_another_price():
    """Of books whose seats are on one side; every deviation is computed anew."""
    orders = random_book(17, B=24, N=8, most=3)
    side = torch.where(torch.arange(8) % 2 == 0, 1.0, -1.0).to(F64)
    kw = orders.quantity_kw.abs() * orders.owners.of_seat(side)
    out = clear("stackelberg_sellers", replace(orders, quantity_kw=kw))
    tolerance = 1.5 * market("stackelberg_sellers").config.tolerance
    assert out.converged.all()
    seat, played = orders.owners.seat.numpy(), 0
    fields = (kw, orders.limit_price, out.cleared_kw, out.price)
    for size, limit, sold, price in zip(*(x.numpy() for x in fields), strict=True):
        sells, buys = size > 0, size < 0
        sells &= limit < limit[buys].max(initial=-np.inf)
        buys &= limit > limit[sells].min(initial=np.inf)
        own = [np.flatnonzero(sells & (seat == s)) for s in np.unique(seat[sells])]
        if not own or any(sold[mine].sum() <= 1e-9 for mine in own):
            continue
        played += 1
        steps = [[(limit[m], size[m]) for m in mine] for mine in own]
        posted = np.array([price[mine].max() for mine in own])
        bids, demand = limit[buys], -size[buys]
        for i, mine in enumerate(own):
            now = (sold * (price - limit))[mine].sum()
            assert now == pytest.approx(earned_by(i, posted, steps, bids, demand), abs=1e-6)
            most = tolerance * (bids.max() - limit[sells].min()) * size[mine].sum()
            for other in np.linspace(limit[mine].min(), bids.max(), 200):
                moved = np.where(np.arange(len(own)) == i, other, posted)
                assert earned_by(i, moved, steps, bids, demand) - now <= most
    assert played > 6


def test_an_envelope_bounds_seats_and_not_orders():
    orders, at = placed_book(13, B=16, N=9, most=3)
    wide = replace(orders, quantity_kw=orders.quantity_kw * 3)
    kind = market("operating_envelope", allocation="equal")
    inside = kind.bounded(wide, at.grid.by_order(wide.owners))
    for side in (1, -1):
        asked, given = (wide.by_seat((x * side).clamp(min=0)) for x in (wide.quantity_kw, inside))
        cut = given < asked - 1e-9
        bound = given.where(cut, 0.0).amax(-1, keepdim=True)
        assert cut.any()
        torch.testing.assert_close(given.where(cut, 0.0), bound * cut)


@one_and_several
def test_owners_add_up_and_hand_back(most):
    owners = random_owners(14, 7, most)
    values = torch.rand(3, len(owners.seat), dtype=F64)
    assert owners.one_each == (owners.seat.tolist() == list(range(7)))
    close(owners.by_order(owners.by_seat(values)), values)
    expected = torch.zeros(3, 7, dtype=F64).index_add(1, owners.seat, values)
    close(owners.total(values), expected)
    close(owners.of_seat(expected), expected[:, owners.seat])
    half = owners.in_line(values, values, expected / 2)
    close(owners.total(half), expected / 2)
    for seat in range(7):
        own = (owners.seat == seat).nonzero()[:, 0]
        order = own[values[0, own].argsort()]
        left = expected[0, seat].item() / 2
        for i in order.tolist():
            assert half[0, i].item() == pytest.approx(min(max(left, 0), values[0, i].item()))
            left -= values[0, i].item()


def test_wrong_owners_are_named():
    with pytest.raises(ValueError, match=r"seat of order 1 is 3, expected 0 to 2"):
        Owners.of(torch.tensor([0, 3]), 3)
    with pytest.raises(ValueError, match=r"seat is torch\.float32 of shape \(2,\)"):
        Owners.of(torch.tensor([0.0, 1.0]), 3)
    with pytest.raises(ValueError, match=r"green has shape \(1,\), expected \(2,\)"):
        Owners.of(torch.tensor([0, 1]), 3, torch.tensor([True]))
    orders = random_book(15, B=2, N=4)
    owners = Owners.of(torch.tensor([0, 1, 1]), 2)
    with pytest.raises(ValueError, match=r"owners has 3 orders and quantity_kw 4"):
        replace(orders, owners=owners).check()
    price = orders.limit_price.clone()
    price[1, 3] = torch.nan
    named = replace(orders, owners=Owners.of(torch.tensor([0, 1, 1, 5]), 6), limit_price=price)
    with pytest.raises(ValueError, match=r"limit_price of seat 5 in market 1 is nan"):
        named.check()


def test_claims_of_several_orders_are_those_of_one():
    lost = {name for name in MARKETS.names() if MARKETS[name].single_order_claims}
    assert lost == {"mcafee", "mid_market_rate"}
