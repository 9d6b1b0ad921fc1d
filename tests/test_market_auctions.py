"""What the literature says of each auction, against oracles that share no code with it."""

from __future__ import annotations

import functools
import itertools
import warnings
from fractions import Fraction

import numpy as np
import pymarket
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor

from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.markets import MARKETS, Clearing, Context, Orders

F64 = torch.float64
HOUR = 0.25
FLOOR, CEILING = 0.08, 0.34
Array = NDArray[np.float64]

both_kinds_of_book = pytest.mark.parametrize("grid", [False, True], ids=["random", "ties"])


@functools.cache
def market(name: str, **parameters):
    kind = MARKETS[name]
    return kind(validate(kind.Config, {**option("market", name), **parameters}))


def clear(name: str, orders: Orders, **parameters) -> Clearing:
    B = len(orders.quantity_kw)
    ends = (torch.full((B, 1), price, dtype=F64) for price in (CEILING, FLOOR))
    return market(name, **parameters).clear(orders, Context(*ends, HOUR))


def book(seed: int, B: int, N: int, grid: bool = False, units: bool = False) -> Orders:
    """Books with a fifth of the seats idle; grid: few prices, sizes and instants of arrival."""
    g = torch.Generator().manual_seed(seed)
    u = torch.rand(3, B, N, generator=g, dtype=F64)
    quantity = u[0] * 10 - 5
    price = FLOOR + (CEILING - FLOOR) * u[1]
    arrival = u[2] * 60
    if grid:
        quantity, arrival = quantity.round(), (u[2] * 4).floor()
        price = FLOOR + ((price - FLOOR) / 0.02).round() * 0.02
    quantity = quantity * (torch.rand(B, N, generator=g) > 0.2)
    return Orders(quantity.sign() if units else quantity, price, arrival)


def row(orders: Orders, b: int) -> tuple[Array, Array, Array]:
    return tuple(
        x[b].numpy().copy() for x in (orders.quantity_kw, orders.limit_price, orders.arrival_s)
    )


def welfare(cleared: Tensor, orders: Orders) -> Tensor:
    return -(cleared * orders.limit_price).sum(-1)


def largest_welfare(quantity: Array, price: Array) -> float:
    sign = np.where(quantity > 0, 1.0, -1.0)
    solved = linprog(
        sign * price,
        A_eq=sign[None],
        b_eq=[0.0],
        bounds=[(0, abs(q)) for q in quantity],
        method="highs",
    )
    return -solved.fun


def most_gained_by_misreporting(name: str, orders: Orders, steps: int = 27, **parameters) -> float:
    """Return the most, in EUR, that any seat gains by any price on a grid instead of its own.

    The grid has every price of the book's own grid, points between them, and both sides of them.
    """
    B, N = orders.quantity_kw.shape
    honest = clear(name, orders, **parameters)
    base = honest.payment_eur - honest.cleared_kw * orders.limit_price * HOUR
    grid = torch.linspace(FLOOR - 0.02, CEILING + 0.02, steps * 2 - 1, dtype=F64)
    most = -torch.inf
    for seat in range(N):
        price = orders.limit_price.repeat(len(grid), 1)
        price[:, seat] = grid.repeat_interleave(B)
        quantity = orders.quantity_kw.repeat(len(grid), 1)
        lied = clear(
            name, Orders(quantity, price, orders.arrival_s.repeat(len(grid), 1)), **parameters
        )
        true = orders.limit_price[:, seat].repeat(len(grid))
        gain = lied.payment_eur[:, seat] - lied.cleared_kw[:, seat] * true * HOUR
        most = max(most, float((gain - base[:, seat].repeat(len(grid))).max()))
    return most


@pytest.mark.parametrize(
    "name", ["pay_as_bid", "mcafee", "vcg", "continuous", "two_stage", "iterative"]
)
def test_the_layout_in_memory_does_not_matter(name):
    orders = book(20, 30, 9)
    fields = (orders.quantity_kw, orders.limit_price, orders.arrival_s)
    expected = clear(name, orders).payment_eur
    by_seat = Orders(*(x.t().contiguous().t() for x in fields))
    interleaved = Orders(*torch.stack(fields, -1).unbind(-1))
    for strided in (by_seat, interleaved):
        assert torch.equal(clear(name, strided).payment_eur, expected)


# Pay-as-bid


def merit_order_walk(sells: list, buys: list, k: float) -> tuple[dict, dict]:
    """Pair the cheapest ask with the highest bid, kWh by kWh; money by price of each side."""
    sells, buys = sorted(sells), sorted(buys, reverse=True)
    received: dict[float, float] = {}
    paid: dict[float, float] = {}
    while sells and buys and sells[0][0] <= buys[0][0]:
        (ask, offered), (bid, wanted) = sells.pop(0), buys.pop(0)
        power = min(offered, wanted)
        money = power * (k * bid + (1 - k) * ask)
        received[ask] = received.get(ask, 0.0) + money
        paid[bid] = paid.get(bid, 0.0) + money
        if offered > power:
            sells.insert(0, (ask, offered - power))
        if wanted > power:
            buys.insert(0, (bid, wanted - power))
    return received, paid


@both_kinds_of_book
@pytest.mark.parametrize("k", [0.0, 0.3, 1.0])
def test_pay_as_bid_prices_each_pair_of_the_merit_order(grid, k):
    orders = book(0, 60, 11, grid)
    out = clear("pay_as_bid", orders, k=k)
    for b in range(60):
        quantity, price, _ = row(orders, b)
        sells = [(p, q) for q, p in zip(quantity, price, strict=True) if q > 0]
        buys = [(p, -q) for q, p in zip(quantity, price, strict=True) if q < 0]
        received, paid = merit_order_walk(sells, buys, k)
        paid_out = out.payment_eur[b].numpy() / HOUR
        for side, expected in ((1, received), (-1, paid)):
            own = quantity * side > 0
            for p in set(price[own]):
                money = side * paid_out[own & (price == p)].sum()
                assert money == pytest.approx(expected.get(p, 0.0), abs=1e-9)


def test_pay_as_bid_pays_bids_at_one_end_and_asks_at_the_other():
    orders = book(1, 60, 11)
    for k, side in ((1.0, -1), (0.0, 1)):
        out = clear("pay_as_bid", orders, k=k)
        own = torch.where(out.cleared_kw * side > 0, out.price - orders.limit_price, 0.0)
        assert own.abs().max() < 1e-12
        assert (out.cleared_kw * side > 0).any()


def test_pay_as_bid_ties_share_their_partners():
    quantity = torch.tensor([[2.0, 4.0, -3.0, -3.0]], dtype=F64)
    price = torch.tensor([[0.1, 0.1, 0.3, 0.2]], dtype=F64)
    out = clear("pay_as_bid", Orders(quantity, price, torch.zeros_like(price)), k=1.0)
    assert out.price[0].tolist() == pytest.approx([0.25, 0.25, 0.3, 0.2])


# McAfee


def mcafee_1992(values: list[float], costs: list[float]) -> tuple[int, float, float]:
    """Return how many units trade, what buyers pay and sellers receive; section 3 of the paper."""
    values = [*sorted(values, reverse=True), FLOOR]
    costs = [*sorted(costs), CEILING]
    k = 0
    while k < min(len(values), len(costs)) - 1 and values[k] >= costs[k]:
        k += 1
    if k == 0:
        return 0, 0.0, 0.0
    price = (values[k] + costs[k]) / 2
    if costs[k - 1] <= price <= values[k - 1]:
        return k, price, price
    return k - 1, values[k - 1], costs[k - 1]


def test_mcafee_is_the_published_rule_on_books_of_single_units():
    orders = book(2, 300, 9, units=True)
    out = clear("mcafee", orders)
    seen = set()
    for b in range(300):
        quantity, price, _ = row(orders, b)
        units, pays, receives = mcafee_1992(list(price[quantity < 0]), list(price[quantity > 0]))
        assert out.volume_kw[b].item() == pytest.approx(units)
        surplus = (pays - receives) * units * HOUR
        assert out.operator_surplus_eur[b].item() == pytest.approx(surplus, abs=1e-12)
        if units:
            bought, sold = out.cleared_kw[b] < 0, out.cleared_kw[b] > 0
            assert out.price[b][bought].numpy() == pytest.approx(pays)
            assert out.price[b][sold].numpy() == pytest.approx(receives)
        seen.add((units > 0, surplus > 0))
    assert seen == {(True, True), (True, False), (False, False)}


def huang_2002(sells: list, buys: list) -> tuple[float, float, float]:
    """Return volume, what buyers pay and sellers receive: all but the marginal orders trade."""
    sells, buys = sorted(sells), sorted(buys, reverse=True)
    supply, demand = np.cumsum([q for _, q in sells]), np.cumsum([q for _, q in buys])
    steps = sorted({0.0, *supply, *demand})
    volume = 0.0
    for low, high in itertools.pairwise(steps):
        middle = (low + high) / 2
        if middle > min(supply[-1], demand[-1]):
            break
        ask = sells[int(np.searchsorted(supply, middle))][0]
        bid = buys[int(np.searchsorted(demand, middle))][0]
        if ask > bid:
            break
        volume, last_ask, last_bid = high, ask, bid
    if volume == 0:
        return 0.0, 0.0, 0.0
    kept = [sum(q for p, q in sells if p < last_ask), sum(q for p, q in buys if p > last_bid)]
    return min(kept), last_bid, last_ask


@both_kinds_of_book
def test_mcafee_on_divisible_orders_is_huangs_reduction(grid):
    """Only books whose crossing leaves a remainder: the others may trade at the average price."""
    orders = book(3, 200, 10, grid)
    out = clear("mcafee", orders, ties="left_out")
    compared = 0
    for b in range(200):
        quantity, price, _ = row(orders, b)
        sells = [(p, q) for q, p in zip(quantity, price, strict=True) if q > 0]
        buys = [(p, -q) for q, p in zip(quantity, price, strict=True) if q < 0]
        if not sells or not buys or out.operator_surplus_eur[b] < 1e-9:
            continue
        volume, pays, receives = huang_2002(sells, buys)
        assert out.volume_kw[b].item() == pytest.approx(volume)
        assert out.price[b][out.cleared_kw[b] < 0].numpy() == pytest.approx(pays)
        assert out.price[b][out.cleared_kw[b] > 0].numpy() == pytest.approx(receives)
        compared += 1
    assert compared > 30


@pytest.mark.parametrize("name", ["mcafee", "vcg"])
@pytest.mark.parametrize("units", [True, False], ids=["units", "divisible"])
@both_kinds_of_book
def test_no_misreport_on_a_grid_gains(name, units, grid):
    assert most_gained_by_misreporting(name, book(4, 60, 7, grid, units)) < 1e-12


def test_the_grid_of_misreports_finds_gains_where_they_exist():
    for name in ("uniform_auction", "pay_as_bid", "continuous"):
        assert most_gained_by_misreporting(name, book(4, 60, 7)) > 1e-3


@pytest.mark.parametrize("levels", [(0.08, 0.34), (0.08, 0.2, 0.34), (0.06, 0.08, 0.34, 0.36)])
def test_mcafee_stays_truthful_and_covered_where_most_orders_tie(levels):
    """Every price on the grid, below and above all levels, for every seat of 400 small games."""
    g = torch.Generator().manual_seed(9)
    traded = {}
    for seats in (3, 5):
        quantity = torch.randint(-3, 4, (200, seats), generator=g).to(F64)
        price = torch.tensor(levels, dtype=F64)[
            torch.randint(0, len(levels), quantity.shape, generator=g)
        ]
        orders = Orders(quantity, price, torch.zeros_like(price))
        assert most_gained_by_misreporting("mcafee", orders) < 1e-12
        for ties in ("left_out", "priced_by_others"):
            out = clear("mcafee", orders, ties=ties)
            assert out.operator_surplus_eur.min() > -1e-12
            assert ((out.price - price) * out.cleared_kw).min() > -1e-12
            traded[ties] = traded.get(ties, 0.0) + out.volume_kw.sum().item()
    assert traded["priced_by_others"] > 1.1 * traded["left_out"]


def test_bidders_who_all_name_the_grids_prices_trade_under_mcafee():
    """3 kW of sun for 5 kW of need: at the price of the longer side, as none of them sets it."""
    quantity = torch.tensor([[2.0, 1, -2, -2, -1], [4, 4, 4, -3, -2]], dtype=F64)
    quantity = quantity.to(F64)
    price = FLOOR + (CEILING - FLOOR) * (quantity < 0).to(F64)
    orders = Orders(quantity, price, torch.zeros_like(price))
    assert clear("mcafee", orders, ties="left_out").volume_kw.tolist() == [0, 0]
    out = clear("mcafee", orders)
    assert out.volume_kw.tolist() == pytest.approx([3, 5])
    assert out.price[0].tolist() == pytest.approx([CEILING] * 5)
    assert out.price[1].tolist() == pytest.approx([FLOOR] * 5)
    # One buyer who would take all sets the price alone, and is left out.
    alone = Orders(
        torch.tensor([[2.0, 1, -5]], dtype=F64),
        orders.limit_price[:1, :3],
        orders.arrival_s[:1, :3],
    )
    assert clear("mcafee", alone).volume_kw.item() == 0


def test_the_rule_for_ties_changes_nothing_without_them():
    orders = book(6, 300, 9)
    one, other = (clear("mcafee", orders, ties=t) for t in ("left_out", "priced_by_others"))
    assert torch.equal(one.payment_eur, other.payment_eur)
    assert torch.equal(one.cleared_kw, other.cleared_kw)


@both_kinds_of_book
def test_mcafee_is_never_in_deficit_and_loses_at_most_the_marginal_trades(grid):
    orders = book(5, 400, 12, grid)
    out = clear("mcafee", orders)
    assert out.operator_surplus_eur.min() >= -1e-12
    units = book(5, 400, 12, grid=False, units=True)
    reduced, full = clear("mcafee", units).volume_kw, clear("uniform_auction", units).volume_kw
    assert (full - reduced).max() < 1 + 1e-9


# VCG


@both_kinds_of_book
def test_vcg_pays_each_seat_its_clarke_pivot(grid):
    orders = book(6, 25, 8, grid)
    out = clear("vcg", orders)
    gain = out.payment_eur / HOUR - out.cleared_kw * orders.limit_price
    for b in range(25):
        quantity, price, _ = row(orders, b)
        best = largest_welfare(quantity, price)
        for i in range(8):
            others = quantity.copy()
            others[i] = 0.0
            pivot = best - largest_welfare(others, price)
            assert gain[b, i].item() == pytest.approx(pivot, abs=1e-9)


def _price_by_rule(quantity: Array, price: Array, cleared: Array, seat: int) -> Fraction:
    """Return a seller's VCG price in exact numbers, by walking along what replaces it."""
    left = used = Fraction(cleared[seat])
    cost = Fraction(0)
    for j in np.argsort(price, kind="stable"):
        if j != seat:
            unsold = max(Fraction(quantity[j]) - max(Fraction(cleared[j]), 0), 0)
            spare = min(left, unsold if quantity[j] > 0 else -Fraction(cleared[j]))
            cost, left = cost + spare * Fraction(price[j]), left - spare
    assert left <= used * Fraction(1, 10**4)  # what is cleared may itself miss by a rounding
    return cost / (used - left)


@both_kinds_of_book
def test_vcg_keeps_the_digits_of_a_small_order_beside_large_ones(grid):
    orders = book(6, 60, 12, grid)
    g = torch.Generator().manual_seed(9)
    size = 10 ** (torch.rand(60, 12, generator=g, dtype=F64) * 11 - 6)
    orders = Orders(orders.quantity_kw.sign() * size, orders.limit_price, orders.arrival_s)
    out = clear("vcg", orders)
    seen = 0
    for b in range(60):
        quantity, price, _ = row(orders, b)
        cleared = out.cleared_kw[b].numpy()
        for seat in np.flatnonzero(cleared > 0):
            exact = _price_by_rule(quantity, price, cleared, seat)
            assert out.price[b, seat].item() == pytest.approx(float(exact), rel=1e-9)
            seen += cleared[seat] < 1e-3
    assert seen > 20


def test_vcg_pays_a_microwatt_beside_a_hundred_megawatts_its_price():
    quantity = torch.tensor([[1e-6, 1e5, -0.9e5]], dtype=F64)
    price = torch.tensor([[0.1, 0.2, 0.3]], dtype=F64)
    out = clear("vcg", Orders(quantity, price, torch.zeros_like(price)))
    assert out.price[0, 0].item() == pytest.approx(0.2, rel=1e-12)


def test_vcg_runs_a_deficit_that_the_operator_pays():
    """Myerson and Satterthwaite: an efficient, truthful, voluntary market needs outside money."""
    surplus = clear("vcg", book(7, 200, 10)).operator_surplus_eur
    assert surplus.max() <= 1e-12
    assert surplus.min() < -1e-3
    pair = Orders(
        torch.tensor([[1.0, -1.0]], dtype=F64),
        torch.tensor([[0.1, 0.3]], dtype=F64),
        torch.zeros(1, 2, dtype=F64),
    )
    out = clear("vcg", pair)
    assert out.price[0].tolist() == pytest.approx([0.3, 0.1])
    assert out.operator_surplus_eur.item() == pytest.approx(-0.2 * HOUR)


def test_vcg_gains_nobody_by_understating_its_quantity():
    orders = book(8, 80, 7)
    honest = clear("vcg", orders)
    base = honest.payment_eur - honest.cleared_kw * orders.limit_price * HOUR
    for seat in range(7):
        for share in (0.0, 0.25, 0.5, 0.75, 0.95):
            quantity = orders.quantity_kw.clone()
            quantity[:, seat] *= share
            lied = clear("vcg", Orders(quantity, orders.limit_price, orders.arrival_s))
            gain = lied.payment_eur - lied.cleared_kw * orders.limit_price * HOUR
            assert (gain - base)[:, seat].max() < 1e-12


# Continuous and two-stage


def continuous_by_hand(
    quantity: Array, price: Array, arrival: Array
) -> tuple[Array, Array, list[float]]:
    """Play one book order by order; return cleared kW, money and the prices of the trades."""
    cleared, money, prices = np.zeros_like(price), np.zeros_like(price), []
    waiting: list[int] = []
    left = np.abs(quantity)
    sequence = sorted(np.flatnonzero(quantity), key=lambda i: arrival[i])
    for i in sequence:
        side = np.sign(quantity[i])
        partners = [
            j
            for j in waiting
            if np.sign(quantity[j]) == -side and side * price[j] >= side * price[i] and left[j] > 0
        ]
        for j in sorted(partners, key=lambda j: (-side * price[j], arrival[j])):
            power = min(left[i], left[j])
            if power == 0:
                break
            left[[i, j]] -= power
            cleared[i] += side * power
            cleared[j] -= side * power
            money[i] += side * power * price[j]
            money[j] -= side * power * price[j]
            prices.append(price[j])
        waiting.append(i)
    return cleared, money, prices


@pytest.mark.parametrize("coarse", [False, True], ids=["random", "price ties"])
def test_continuous_is_price_time_priority_played_by_hand(coarse):
    orders = book(9, 120, 14, coarse)
    # Distinct arrivals: the order of those that come at once is a convention of its own.
    arrival = orders.arrival_s + torch.arange(14, dtype=F64) * 1e-3
    orders = Orders(orders.quantity_kw, orders.limit_price, arrival)
    out = clear("continuous", orders)
    for b in range(120):
        cleared, money, _ = continuous_by_hand(*row(orders, b))
        assert out.cleared_kw[b].numpy() == pytest.approx(cleared, abs=1e-12)
        assert out.payment_eur[b].numpy() == pytest.approx(money * HOUR, abs=1e-12)
    assert torch.equal(out.iterations, (orders.quantity_kw != 0).sum(-1))


def test_continuous_leaves_no_orders_that_would_trade():
    orders = book(10, 300, 12, grid=True)
    rest = orders.quantity_kw - clear("continuous", orders).cleared_kw
    ask = torch.where(rest > 1e-12, orders.limit_price, torch.inf).amin(-1)
    bid = torch.where(rest < -1e-12, orders.limit_price, -torch.inf).amax(-1)
    assert (ask > bid).all()


def test_continuous_treats_equal_orders_of_one_instant_alike():
    quantity = torch.tensor([[4.0, 2.0, -3.0, -1.5, -1.5]], dtype=F64)
    price = torch.tensor([[0.1, 0.1, 0.3, 0.3, 0.3]], dtype=F64)
    arrival = torch.tensor([[1.0, 1.0, 2.0, 3.0, 3.0]], dtype=F64)
    out = clear("continuous", Orders(quantity * 1.0, price, arrival))
    assert out.cleared_kw[0].tolist() == pytest.approx([4, 2, -3, -1.5, -1.5])
    short = clear(
        "continuous", Orders(quantity * torch.tensor([[0.5] * 2 + [1] * 3]), price, arrival)
    )
    assert short.cleared_kw[0].tolist() == pytest.approx([2, 1, -3, 0, 0])
    long = clear(
        "continuous", Orders(quantity * torch.tensor([[1] * 2 + [0.5] * 3]), price, arrival)
    )
    assert long.cleared_kw[0].tolist() == pytest.approx([2, 1, -1.5, -0.75, -0.75])


def test_continuous_loses_surplus_to_early_bargains_and_never_exceeds_the_largest():
    orders = book(11, 400, 14)
    best = welfare(clear("uniform_auction", orders).cleared_kw, orders)
    share = welfare(clear("continuous", orders).cleared_kw, orders) / best.clamp(min=1e-9)
    share = share[best > 1e-6]
    assert share.max() <= 1 + 1e-9
    assert 0.6 < share.mean() < 0.99


def two_stages_by_hand(
    quantity: Array, price: Array, arrival: Array, share: float, band: float
) -> tuple[Array, Array]:
    """Call on the first arrivals by the uniform auction, then play the rest by hand."""
    live = np.flatnonzero(quantity)
    early = live[np.argsort(arrival[live])][: int(np.ceil(len(live) * share))]
    first = np.where(np.isin(np.arange(len(quantity)), early), quantity, 0.0)
    called = clear(
        "uniform_auction", Orders(*(torch.from_numpy(x)[None] for x in (first, price, arrival)))
    )
    cleared, guide = called.cleared_kw[0].numpy(), called.reference_price.item()
    if not np.isnan(guide):
        width = band * (CEILING - FLOOR)
        sells = quantity > 0
        price = np.where(sells, np.maximum(price, guide - width), np.minimum(price, guide + width))
    more, money, prices = continuous_by_hand(quantity - cleared, price, arrival)
    if not np.isnan(guide):
        assert all(abs(p - guide) <= width + 1e-12 for p in prices)
    return cleared + more, called.payment_eur[0].numpy() + money * HOUR


@pytest.mark.parametrize(("share", "band"), [(0.5, 0.1), (0.25, 0.3), (1.0, 0.0)])
def test_two_stage_is_a_call_and_then_trade_within_the_band(share, band):
    orders = book(12, 80, 14)
    out = clear("two_stage", orders, call_share=share, band=band)
    for b in range(80):
        cleared, payment = two_stages_by_hand(*row(orders, b), share, band)
        assert out.cleared_kw[b].numpy() == pytest.approx(cleared, abs=1e-9)
        assert out.payment_eur[b].numpy() == pytest.approx(payment, abs=1e-9)


def test_two_stage_with_all_in_the_call_is_the_uniform_auction():
    orders = book(13, 100, 10)
    out = clear("two_stage", orders, call_share=1.0)
    uniform = clear("uniform_auction", orders)
    torch.testing.assert_close(out.cleared_kw, uniform.cleared_kw, rtol=0, atol=1e-12)
    torch.testing.assert_close(out.payment_eur, uniform.payment_eur, rtol=0, atol=1e-12)


# Iterative


@pytest.mark.parametrize("seed", [14, 15])
@both_kinds_of_book
def test_iterative_reaches_the_linear_programs_welfare(seed, grid):
    orders = book(seed, 100, 12, grid)
    out = clear("iterative", orders)
    assert out.converged.all()
    reached = welfare(out.cleared_kw, orders)
    for b in range(100):
        best = largest_welfare(*row(orders, b)[:2])
        assert best - 1e-9 >= reached[b].item() - 2e-9
        assert reached[b].item() >= best * (1 - 0.001) - 1e-9
    assert 2 <= out.iterations.max() <= 40
    assert (out.messages[out.iterations > 1] > 0).all()


def test_iterative_comes_closer_the_tighter_the_tolerance():
    orders = book(16, 100, 12)
    best = welfare(clear("uniform_auction", orders).cleared_kw, orders)
    rounds = []
    for tolerance in (0.1, 0.01, 1e-6):
        out = clear("iterative", orders, tolerance=tolerance)
        assert (best - welfare(out.cleared_kw, orders) <= tolerance * best + 1e-12).all()
        rounds.append(out.iterations)
    assert all((more >= fewer).all() for fewer, more in itertools.pairwise(rounds))


def test_iterative_that_does_not_converge_trades_nothing():
    orders = book(17, 100, 12)
    out = clear("iterative", orders, max_rounds=4, tolerance=1e-9)
    gave_up = ~out.converged
    assert 0 < gave_up.sum() < 100
    for field in (out.cleared_kw, out.price, out.payment_eur):
        assert (field[gave_up] == 0).all()
    assert out.reference_price[gave_up].isnan().all()
    patient = clear("iterative", orders, tolerance=1e-9)
    same = out.converged
    torch.testing.assert_close(out.cleared_kw[same], patient.cleared_kw[same])


def in_pymarket(kind: str, orders: Orders, b: int, **options) -> tuple[Array, Array, dict]:
    """Return kW cleared and mean price of every seat, and what else pymarket says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        market = pymarket.Market()
        quantity, price, _ = row(orders, b)
        seats = np.flatnonzero(quantity)
        for user, i in enumerate(seats):
            market.accept_bid(abs(quantity[i]), price[i], user, bool(quantity[i] < 0), 0)
        transactions, extra = market.run(kind, **options)
    cleared, money = np.zeros_like(price), np.zeros_like(price)
    for trade in transactions.get_df().itertuples():
        cleared[seats[int(trade.bid)]] += trade.quantity
        money[seats[int(trade.bid)]] += trade.quantity * trade.price
    mean = np.divide(money, cleared, out=np.zeros_like(money), where=cleared > 0)
    return cleared * np.sign(quantity), mean, extra


def test_mcafee_is_not_truthful_in_quantity():
    quantity = torch.tensor([[-3.68, 0.98, 3.72, -4.47, 0.0, 0.31]], dtype=F64)
    price = torch.tensor([[0.17, 0.276, 0.082, 0.282, 0.28, 0.1]], dtype=F64)

    def gain(share: float) -> float:
        said = quantity.clone()
        said[0, 3] *= share
        out = clear("mcafee", Orders(said, price, torch.zeros_like(price)))
        return ((price - out.price) * -out.payment_eur / out.price)[0, 3].nan_to_num().item()

    assert gain(1.0) == 0
    assert gain(0.5) == pytest.approx(0.0626, abs=1e-4)


def test_mcafee_agrees_with_pymarkets_huang_up_to_the_rationing():
    orders = book(18, 100, 10)
    out = clear("mcafee", orders)
    traded = 0
    for b in range(100):
        theirs, price, _ = in_pymarket("huang", orders, b)
        assert out.volume_kw[b].item() == pytest.approx(theirs.clip(0).sum(), abs=1e-9)
        # They cut the long side by equal amounts, so that small orders may drop out; and they
        # round prices.
        both = (theirs != 0) & (out.cleared_kw[b].numpy() != 0)
        assert out.price[b].numpy()[both] == pytest.approx(price[both], abs=1e-5)
        traded += both.any()
    assert traded > 30


def test_pay_as_bid_agrees_with_pymarkets_p2p_where_there_is_one_pair():
    orders = book(19, 60, 2)
    out = clear("pay_as_bid", orders, k=0.3)
    for b in range(60):
        theirs, price, _ = in_pymarket("p2p", orders, b, p_coef=0.3)
        assert out.cleared_kw[b].numpy() == pytest.approx(theirs, abs=1e-12)
        assert out.price[b].numpy() == pytest.approx(price, abs=1e-12)
    assert (out.volume_kw > 0).any()


def test_pymarkets_p2p_and_muda_stay_below_the_largest_surplus():
    orders = book(18, 100, 10)
    best = welfare(clear("uniform_auction", orders).cleared_kw, orders).numpy()
    for kind in ("p2p", "muda"):
        reached = np.array(
            [
                -in_pymarket(kind, orders, b, r=np.random.RandomState(b))[0]
                @ orders.limit_price[b].numpy()
                for b in range(100)
                if best[b] > 1e-6
            ]
        )
        share = reached / best[best > 1e-6]
        assert share.max() <= 1 + 1e-9
        assert share.mean() < 0.9
