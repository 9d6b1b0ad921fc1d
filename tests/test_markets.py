"""Laws of every registered mechanism on random books, and what each claims of itself."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from torch import Tensor

from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.grid import Limits, Network, PowerFlow, load_net
from gridbazaar.envs.grid.distance import electrical_distance
from gridbazaar.envs.markets import (
    MARKETS,
    Clearing,
    Context,
    GridContext,
    Order,
    Orders,
    Owners,
    book_of,
    clear_checked,
    uncrossed,
)
from gridbazaar.envs.markets.network.trade_limits import broken_by
from gridbazaar.errors import UnknownNameError

F64 = torch.float64
# At which trade breaks limits of the feeder in some of the books.
LOAD = 1600.0
# Books of one order a seat and of up to three, on both sides.
one_and_several = pytest.mark.parametrize("most", [1, 3], ids=["one each", "several"])
alone_and_placed = pytest.mark.parametrize("placed", [False, True], ids=["alone", "placed"])
every_market = pytest.mark.parametrize("name", MARKETS.names())


def claiming(claim: str) -> pytest.MarkDecorator:
    names = [name for name in MARKETS.names() if claim in MARKETS[name].claims]
    return pytest.mark.parametrize("name", names)


@cache
def defaults(name: str) -> dict:
    # A search among random books takes a second each; test_market_games has the larger ones.
    small = {"most_players": 6} if name == "nucleolus" else {}
    return {**option("market", name), **small}


@cache
def market(name: str, **parameters):
    kind = MARKETS[name]
    return kind(validate(kind.Config, {**defaults(name), **parameters}))


def context(B: int, low: float = 0.08, high: float = 0.34, dtype=F64) -> Context:
    return Context(
        torch.full((B, 1), high, dtype=dtype), torch.full((B, 1), low, dtype=dtype), 0.25
    )


def order(quantity, price, arrival=None, dtype=F64) -> Orders:
    quantity = torch.as_tensor(quantity, dtype=dtype)
    price = torch.as_tensor(price, dtype=dtype)
    seats = torch.arange(quantity.shape[-1], dtype=dtype).expand_as(quantity)
    return Orders(quantity, price, seats if arrival is None else arrival)


def random_owners(seed: int, N: int, most: int) -> Owners:
    """Owners of one to `most` orders per seat, in any sequence."""
    g = torch.Generator().manual_seed(seed)
    seat = torch.arange(N).repeat_interleave(torch.randint(1, most + 1, (N,), generator=g))
    return Owners.of(seat[torch.randperm(len(seat), generator=g)], N)


def random_book(
    seed: int, B: int = 64, N: int = 13, ties: bool = False, dtype=F64, most: int = 1
) -> Orders:
    """Books within [0.08, 0.34] EUR/kWh, a quarter of the orders none; ties: few prices, sizes."""
    if most > 1:
        owners = random_owners(seed, N, most)
        one_each = random_book(seed, B, len(owners.seat), ties, dtype)
        arrival = owners.of_seat(one_each.arrival_s[:, :N])
        return uncrossed(replace(one_each, owners=owners, arrival_s=arrival))
    g = torch.Generator().manual_seed(seed)
    quantity = torch.rand(B, N, generator=g, dtype=F64) * 10 - 5
    price = 0.08 + 0.26 * torch.rand(B, N, generator=g, dtype=F64)
    if ties:
        quantity, price = quantity.round(), ((price - 0.08) / 0.0325).round() * 0.0325 + 0.08
    quantity = quantity * (torch.rand(B, N, generator=g) > 0.25)
    arrival = torch.rand(B, N, generator=g, dtype=F64) * 30
    return Orders(quantity.to(dtype), price.to(dtype), arrival.to(dtype))


@cache
def feeder() -> tuple[Network, list[int], PowerFlow, Limits]:
    network = Network.from_pandapower(load_net("pandapower", "case33bw"))
    buses = [int(bus) for bus in network.buses]
    limits = Limits.of(network, (0.9, 1.1), 100.0, dtype=F64)
    return network, buses, PowerFlow(network, buses, dtype=F64), limits


def placed_book(
    seed: int, B: int = 16, N: int = 11, ties: bool = False, most: int = 1
) -> tuple[Orders, Context]:
    """Seats at random buses, some at one and green, with orders that load the feeder."""
    network, buses, solver, limits = feeder()
    g = torch.Generator().manual_seed(seed)
    bus = torch.randint(len(buses), (N,), generator=g)
    background_kw = -10 * torch.rand(B, len(buses), generator=g, dtype=F64)
    place = GridContext(
        distance=torch.as_tensor(electrical_distance(network, buses))[bus][:, bus],
        green=torch.rand(N, generator=g) > 0.5,
        solver=solver,
        limits=limits,
        to_bus=torch.nn.functional.one_hot(bus, len(buses)).to(F64),
        background_kw=background_kw,
        reactive_kvar=background_kw / 5,
    )
    orders = random_book(seed, B, N, ties, most=most)
    orders = replace(orders, quantity_kw=orders.quantity_kw * LOAD)
    return orders, replace(context(B), grid=place)


def clear(name: str, orders: Orders, **parameters) -> Clearing:
    B = len(orders.quantity_kw)
    return market(name, **parameters).clear(orders, context(B, dtype=orders.quantity_kw.dtype))


def pick(orders: Orders, at) -> Orders:
    """Return some markets of the book."""
    rows = (x[at] for x in (orders.quantity_kw, orders.limit_price, orders.arrival_s))
    return Orders(*rows, orders.owners)


def further_apart(orders: Orders) -> Orders:
    """Lower the bids of seats that also sell, below what a solver takes for equal."""
    owners, price = orders.owners, orders.limit_price
    sells = owners.of_seat(owners.total(orders.quantity_kw.clamp(min=0))) > 0
    return replace(orders, limit_price=price - 1e-5 * (sells & (orders.quantity_kw < 0)))


def renamed_seats(orders: Orders, order_at: Tensor, seat_at: Tensor) -> Orders:
    """Return the book with its orders in another sequence and its seats by other numbers."""
    new_name = seat_at.argsort()
    owners = orders.owners
    if owners is not None:
        owners = Owners.of(new_name[owners.seat[order_at]], owners.seats)
    return replace(pick(orders, (slice(None), order_at)), owners=owners)


def welfare(cleared: Tensor, orders: Orders) -> Tensor:
    return -(cleared * orders.limit_price).sum(-1)


close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9, equal_nan=True)


def same(a: Clearing, b: Clearing) -> None:
    for field in ("cleared_kw", "price", "payment_eur", "reference_price"):
        close(getattr(a, field), getattr(b, field))


def books(
    seed: int, placed: bool, ties: bool = False, B: int = 32, most: int = 1
) -> tuple[Orders, Context]:
    if placed:
        return placed_book(seed, B, ties=ties, most=most)
    return random_book(seed, B, ties=ties, most=most), context(B)


def test_the_feeder_binds_in_some_of_the_placed_books():
    for seed in (0, 7, 9, 10):
        orders, at = books(seed, placed=True)
        free = clear("uniform_auction", orders).cleared_kw
        assert 0 < len(broken_by(at.grid, free)[0]) < len(free)


@every_market
@alone_and_placed
@one_and_several
@pytest.mark.parametrize("ties", [False, True])
def test_books_balance_and_orders_are_kept(name, ties, placed, most):
    orders, at = books(0, placed, ties, most=most)
    out = market(name).clear(orders, at)
    cleared, quantity = out.cleared_kw, orders.quantity_kw
    assert out.cleared_kw.sum(-1).abs().max() < 1e-9
    assert (cleared * quantity >= 0).all()
    rounding = 0 if most == 1 else 4 * torch.finfo(F64).eps * quantity.abs()
    assert (cleared.abs() <= quantity.abs() + 1e-12 + rounding).all()
    assert (out.price[cleared == 0] == 0).all()
    assert (out.payment_eur[cleared == 0] == 0).all()
    assert (out.payment_eur * cleared >= -1e-12).all()
    torch.testing.assert_close(out.payment_eur, cleared * out.price * 0.25, rtol=0, atol=1e-9)
    torch.testing.assert_close(out.payment_eur.sum(-1), -out.operator_surplus_eur)
    nothing = out.volume_kw == 0
    assert torch.equal(out.reference_price.isnan(), nothing)
    assert out.converged.dtype is torch.bool
    assert out.iterations.shape == out.messages.shape == nothing.shape
    assert (out.iterations >= 1).all()
    assert (out.messages >= 0).all()


@claiming("individually_rational")
@one_and_several
@pytest.mark.parametrize("ties", [False, True])
def test_nobody_sells_below_or_buys_above_its_limit(name, ties, most):
    orders = random_book(2, ties=ties, most=most)
    out = clear(name, orders)
    gain = (out.price - orders.limit_price) * out.cleared_kw.sign()
    assert gain.min() >= -1e-9


@claiming("no_deficit")
@one_and_several
def test_the_operator_never_adds_money(name, most):
    assert clear(name, random_book(3, most=most)).operator_surplus_eur.min() >= -1e-9


@claiming("budget_balanced")
@one_and_several
def test_the_operator_keeps_nothing(name, most):
    assert clear(name, random_book(3, ties=True, most=most)).operator_surplus_eur.abs().max() < 1e-9


@claiming("one_price")
@one_and_several
def test_all_trade_at_one_price(name, most):
    out = clear(name, random_book(4, most=most))
    traded = out.cleared_kw != 0
    spread = torch.where(traded, out.price - out.reference_price.unsqueeze(-1), 0.0)
    assert spread.abs().max() < 1e-9


@claiming("truthful")
@one_and_several
def test_misreporting_gains_nothing(name, most):
    """No order of a seat gains it anything by another price, all its orders taken together."""
    if most > 1 and "truthful" in MARKETS[name].single_order_claims:
        pytest.skip("claims it of seats with one order")
    orders = random_book(5, B=32, N=6, most=most)
    honest = clear(name, orders)
    mine = [0] if orders.owners is None else (orders.owners.seat == 1).nonzero()[:, 0].tolist()

    def gain(out: Clearing) -> Tensor:
        gains = out.payment_eur - out.cleared_kw * orders.limit_price * 0.25
        return gains[:, mine].sum(-1)

    for order_, shift in itertools.product(mine, (-0.1, -0.02, 0.02, 0.1)):
        price = orders.limit_price.clone()
        price[:, order_] += shift
        lied = clear(name, uncrossed(replace(orders, limit_price=price)))
        assert (gain(lied) - gain(honest)).max() < 1e-9


@every_market
def test_what_is_claimed_of_one_order_is_claimed(name):
    assert MARKETS[name].single_order_claims <= MARKETS[name].claims


@claiming("efficient")
@one_and_several
@pytest.mark.parametrize("ties", [False, True])
def test_volume_and_welfare_are_those_of_a_linear_program(name, ties, most):
    from scipy.optimize import linprog

    orders = random_book(6, B=40, N=9, ties=ties, most=most)
    if most > 1:
        orders = further_apart(orders)
    out = clear(name, orders)
    for b, (quantity, price) in enumerate(
        zip(orders.quantity_kw.numpy(), orders.limit_price.numpy(), strict=True)
    ):
        sign = (quantity > 0) * 2.0 - 1
        # The least of prices that breaks ties between volumes towards the largest.
        solved = linprog(
            sign * price - 1e-7,
            A_eq=sign[None],
            b_eq=[0.0],
            bounds=[(0, abs(q)) for q in quantity],
            method="highs",
        )
        best = -(sign * price) @ solved.x
        assert out.volume_kw[b].item() == pytest.approx(solved.x.sum() / 2, abs=1e-6)
        assert welfare(out.cleared_kw, orders)[b].item() == pytest.approx(best, abs=1e-6)


@every_market
@alone_and_placed
@one_and_several
def test_seats_have_no_names(name, placed, most):
    orders, at = books(7, placed, most=most)
    g = torch.Generator().manual_seed(0)
    order_at = new = torch.randperm(orders.quantity_kw.shape[1], generator=g)
    if most > 1:
        new = torch.randperm(orders.seats, generator=g)
    straight = market(name).clear(orders, at)
    if placed:
        where = at.grid
        at = replace(
            at,
            grid=replace(
                where,
                distance=where.distance[new][:, new],
                green=where.green[new],
                to_bus=where.to_bus[new],
            ),
        )
    renamed = market(name).clear(renamed_seats(orders, order_at, new), at)
    # Its programme is solved to a tolerance.
    near = {"rtol": 1e-6, "atol": 1e-6} if most > 1 and name == "locational_price" else {}
    for field in ("cleared_kw", "price", "payment_eur"):
        close(getattr(straight, field)[:, order_at], getattr(renamed, field), **near)


@every_market
@one_and_several
@pytest.mark.parametrize("ties", [False, True])
def test_no_trade_is_a_rounding_and_idle_seats_change_nothing(name, ties, most):
    orders = random_book(7, B=48, ties=ties, most=most)
    out = clear(name, orders)
    dust = 1e-9 * orders.quantity_kw.abs().amax(-1, keepdim=True)
    assert not ((out.cleared_kw != 0) & (out.cleared_kw.abs() <= dust)).any()
    more = [torch.nn.functional.pad(x, (0, 5)) for x in (orders.quantity_kw, orders.limit_price)]
    owners = orders.owners
    if owners is not None:
        # Three empty slots of seats that have orders, and two seats without any.
        seat = torch.cat([owners.seat, torch.tensor([0, 1, 2, owners.seats, owners.seats + 1])])
        owners = Owners.of(seat, owners.seats + 2)
    more.append(torch.nn.functional.pad(orders.arrival_s, (0, 5)))
    wider = clear(name, Orders(*more, owners))
    for field in ("cleared_kw", "price", "payment_eur"):
        close(getattr(wider, field)[:, :-5], getattr(out, field))
        assert getattr(wider, field)[:, -5:].abs().sum() == 0
    close(wider.reference_price, out.reference_price)
    assert torch.equal(wider.cleared_kw[:, :-5] != 0, out.cleared_kw != 0)


@every_market
def test_equal_orders_are_treated_alike(name):
    quantity = [[4.0, 4.0, 4.0, -3.0, -3.0, -3.0]]
    at_once = torch.zeros(1, 6, dtype=F64)
    if MARKETS[name].time_priority:
        pytest.skip("decides equal orders by their arrival")
    out = clear(name, order(quantity, [[0.1, 0.1, 0.1, 0.3, 0.3, 0.3]], at_once))
    filled = out.cleared_kw / torch.tensor(quantity, dtype=F64)
    assert (filled[0, :3] - filled[0, 0]).abs().max() < 1e-9
    assert (filled[0, 3:] - filled[0, 3]).abs().max() < 1e-9


@every_market
@one_and_several
def test_seats_that_do_not_trade_change_nothing(name, most):
    orders = random_book(8, most=most)
    idle = orders.quantity_kw == 0
    shifted = replace(
        orders,
        limit_price=orders.limit_price + idle * 0.1,
        arrival_s=orders.arrival_s + idle * 5,
    )
    same(clear(name, orders), clear(name, shifted))


# EUR/kWh, so that they scale with prices.
PRICES = ("distance_price", "grey_price", "usage_price")


@every_market
@alone_and_placed
@one_and_several
@pytest.mark.parametrize("ties", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(("size", "worth"), [(7.3, 1 / 7.3), (1e-3, 1e3)])
def test_money_and_power_have_no_unit(name, ties, placed, size, worth, most):
    orders, at = books(9, placed, ties, B=16, most=most)
    if placed and "without_grid" in defaults(name):
        size = 1  # the feeder has one
    base = market(name).clear(orders, at)
    scaled_orders = replace(
        orders, quantity_kw=orders.quantity_kw * size, limit_price=orders.limit_price * worth
    )
    scaled_at = replace(
        at, buyer_ceiling=at.buyer_ceiling * worth, seller_floor=at.seller_floor * worth
    )
    known = defaults(name)
    prices = {field: known[field] * worth for field in PRICES if field in known}
    scaled = market(name, **prices).clear(scaled_orders, scaled_at)
    # Ties leave it many optima, and its last step may differ.
    accuracy = 1e-4 if ties and name == "bilateral_dispatch" else 1e-8
    if most > 1 and name == "locational_price":
        accuracy = 1e-6
    near = partial(torch.testing.assert_close, rtol=accuracy, atol=accuracy)
    near(scaled.cleared_kw / size, base.cleared_kw)
    near(scaled.payment_eur / (size * worth), base.payment_eur)


@every_market
@pytest.mark.parametrize(
    "quantity",
    [[[0.0, 0.0, 0.0]], [[1.0, 2.0, 0.0]], [[-1.0, 0.0, -2.0]], [[3.0]], [[-3.0]], [[0.0]]],
    ids=["empty", "sellers", "buyers", "one seller", "one buyer", "one idle"],
)
def test_books_without_a_counterparty_trade_nothing(name, quantity):
    out = clear(name, order(quantity, torch.full((1, len(quantity[0])), 0.2)))
    assert out.cleared_kw.abs().sum() == 0
    assert out.payment_eur.abs().sum() == 0
    assert out.price.abs().sum() == 0
    assert out.reference_price.isnan().all()


@every_market
@alone_and_placed
@one_and_several
def test_a_batch_is_its_markets_side_by_side(name, placed, most):
    orders, at = books(10, placed, B=8, most=most)
    together = market(name).clear(orders, at)
    for b in range(8):
        one = slice(b, b + 1)
        where = at.grid and replace(
            at.grid,
            background_kw=at.grid.background_kw[one],
            reactive_kvar=at.grid.reactive_kvar[one],
        )
        alone = market(name).clear(pick(orders, one), replace(context(1), grid=where))
        for field in ("cleared_kw", "price", "payment_eur", "reference_price"):
            close(getattr(together, field)[one], getattr(alone, field))
        for field in ("converged", "iterations", "messages"):
            assert torch.equal(getattr(together, field)[one], getattr(alone, field)), field


@claiming("efficient")
@one_and_several
def test_more_demand_or_supply_never_lowers_the_volume(name, most):
    orders = random_book(11, ties=True, most=most)
    volume = clear(name, orders).volume_kw
    bigger = replace(orders, quantity_kw=orders.quantity_kw * 1.5)
    assert (clear(name, bigger).volume_kw >= volume - 1e-9).all()
    for sign in (1, -1):
        one_side = torch.where(orders.quantity_kw * sign > 0, 1.5, 1.0) * orders.quantity_kw
        grown = replace(orders, quantity_kw=one_side)
        assert (clear(name, grown).volume_kw >= volume - 1e-9).all()


@every_market
@one_and_several
def test_single_precision_agrees(name, most):
    orders = random_book(12, most=most)
    fields = ("quantity_kw", "limit_price", "arrival_s")
    single = replace(orders, **{field: getattr(orders, field).float() for field in fields})
    exact = replace(single, **{field: getattr(single, field).double() for field in fields})
    a, b = clear(name, single), clear(name, exact)
    assert a.cleared_kw.dtype is torch.float32
    torch.testing.assert_close(a.cleared_kw.double(), b.cleared_kw, rtol=0, atol=1e-4)
    torch.testing.assert_close(a.payment_eur.double(), b.payment_eur, rtol=0, atol=1e-4)


@pytest.mark.parametrize("k", [0.0, 0.25, 1.0])
def test_uniform_price_lies_k_of_the_way_from_ask_to_bid(k):
    book = order([[2.0, 2.0, -2.0, -2.0, -1.0]], [[0.10, 0.15, 0.30, 0.25, 0.12]])
    out = clear("uniform_auction", book, k=k)
    assert out.volume_kw.item() == pytest.approx(4)
    assert out.reference_price.item() == pytest.approx(0.15 + k * 0.10)
    assert out.cleared_kw[0].tolist() == pytest.approx([2, 2, -2, -2, 0])


def test_uniform_price_lies_between_the_marginal_ask_and_bid():
    orders = random_book(13, ties=True)
    low, high = (clear("uniform_auction", orders, k=k) for k in (0.0, 1.0))
    assert torch.equal(low.cleared_kw, high.cleared_kw)
    traded = low.volume_kw > 0
    assert traded.any()
    assert (low.reference_price <= high.reference_price)[traded].all()
    sold, bought = low.cleared_kw > 0, low.cleared_kw < 0
    dearest = torch.where(sold, orders.limit_price, -torch.inf).amax(-1)
    cheapest = torch.where(bought, orders.limit_price, torch.inf).amin(-1)
    torch.testing.assert_close(low.reference_price[traded], dearest[traded])
    torch.testing.assert_close(high.reference_price[traded], cheapest[traded])


def test_the_marginal_side_shares_pro_rata():
    book = order([[1.0, 3.0, 2.0, -4.0]], [[0.1, 0.2, 0.2, 0.3]])
    out = clear("uniform_auction", book)
    assert out.cleared_kw[0].tolist() == pytest.approx([1, 1.8, 1.2, -4])


def test_asks_and_bids_at_one_price_trade():
    book = order([[2.0, -1.0, -3.0, 1.0]], [[0.2, 0.2, 0.2, 0.2]])
    out = clear("uniform_auction", book)
    assert out.reference_price.item() == pytest.approx(0.2)
    assert out.cleared_kw[0].tolist() == pytest.approx([2, -0.75, -2.25, 1])


def test_prices_may_be_negative_or_zero_of_either_sign():
    book = order([[2.0, -2.0], [1.0, -1.0]], [[-0.3, -0.1], [0.0, -0.0]])
    out = clear("uniform_auction", book, k=0.5)
    assert out.reference_price.tolist() == pytest.approx([-0.2, 0.0])
    assert out.volume_kw.tolist() == pytest.approx([2, 1])
    assert (out.payment_eur[0] * torch.tensor([-1, 1]) > 0).all()


def test_orders_name_what_is_wrong_with_them():
    good = replace(random_book(14, B=2, N=3), quantity_kw=torch.ones(2, 3, dtype=F64))
    good.check()
    for field in ("quantity_kw", "limit_price", "arrival_s"):
        bad = {f: getattr(good, f).clone() for f in ("quantity_kw", "limit_price", "arrival_s")}
        bad[field][1, 2] = torch.nan
        with pytest.raises(ValueError, match=rf"{field} of seat 2 in market 1 is nan"):
            Orders(**bad).check()
    with pytest.raises(ValueError, match=r"limit_price has shape \(2, 2\), expected \(2, 3\)"):
        Orders(good.quantity_kw, good.limit_price[:, :2], good.arrival_s).check()
    none = torch.zeros(1, 1)
    Orders(none, none, none + torch.inf).check()
    with pytest.raises(ValueError, match="arrival_s of seat 0"):
        Orders(none + 1, none, none + torch.inf).check()


@every_market
def test_every_market_refuses_what_is_not_a_number(name):
    good, at = random_book(14, B=2, N=3), context(2)
    good = replace(good, quantity_kw=good.quantity_kw.abs() + 1)
    for field, wrong in [
        *itertools.product(("quantity_kw", "limit_price", "arrival_s"), (torch.nan, torch.inf)),
        ("limit_price", 2e6),
        ("limit_price", -2e6),
        ("arrival_s", -1.0),
    ]:
        values = getattr(good, field).clone()
        values[1, 2] = wrong
        with pytest.raises(ValueError, match=rf"{field} of seat 2 in market 1 is {wrong}"):
            clear_checked(market(name), replace(good, **{field: values}), at)
    with pytest.raises(ValueError, match=r"arrival_s has shape \(2, 1\), expected \(2, 3\)"):
        clear_checked(market(name), replace(good, arrival_s=good.arrival_s[:, :1]), at)
    with pytest.raises(ValueError, match="seller_floor of market 0 is nan"):
        clear_checked(market(name), good, replace(at, seller_floor=at.seller_floor * torch.nan))
    with pytest.raises(ValueError, match=r"buyer_ceiling has shape \(5, 1\), expected \(2, 1\)"):
        clear_checked(market(name), good, context(5))
    with pytest.raises(
        ValueError, match=r"quantity_kw has shape \(3,\), expected \[markets, seats"
    ):
        clear_checked(market(name), pick(good, 0), at)
    with pytest.raises(ValueError, match=r"quantity_kw is torch\.int64 .* one floating type"):
        clear_checked(market(name), replace(good, quantity_kw=good.quantity_kw.long()), at)
    with pytest.raises(ValueError, match=r"limit_price is torch\.float32 and quantity_kw torch\.f"):
        clear_checked(market(name), replace(good, limit_price=good.limit_price.float()), at)


@every_market
def test_every_market_refuses_a_place_without_distances(name):
    orders, at = placed_book(14, B=2, N=3)
    place = at.grid
    place.distance[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"grid\.distance of seats 1 and 2 is nan"):
        clear_checked(market(name), orders, at)
    elsewhere = replace(place, distance=place.distance[:2])
    with pytest.raises(ValueError, match=r"grid\.distance has shape \(2, 3\), expected \(3, 3\)"):
        clear_checked(market(name), orders, replace(at, grid=elsewhere))
    elsewhere = replace(place, distance=place.distance.nan_to_num(), green=place.green[:2])
    with pytest.raises(ValueError, match=r"grid\.green has shape \(2,\), expected \(3,\)"):
        clear_checked(market(name), orders, replace(at, grid=elsewhere))


@every_market
def test_prices_beyond_the_cap_and_its_margin_are_refused(name):
    good, at = random_book(14, B=2, N=3), replace(context(2), price_margin=0.2)
    good = replace(good, quantity_kw=good.quantity_kw.abs() + 1)
    price = good.limit_price.clone()
    price[1, 0] = 0.34 + 0.1 * 0.26
    clear_checked(market(name), replace(good, limit_price=price), at)
    price[1, 0] += 1e-4
    with pytest.raises(ValueError, match=r"limit_price of seat 0 in market 1 .* 0\.1 of their gap"):
        clear_checked(market(name), replace(good, limit_price=price), at)


def test_limits_beyond_the_cap_are_named():
    good, at = random_book(14, B=2, N=3), context(2)
    good.check(at)
    price = good.limit_price.clone()
    price[1, 0] = 0.35
    with pytest.raises(
        ValueError, match=r"limit_price of seat 0 in market 1 is 0.35, expected 0.08"
    ):
        replace(good, limit_price=price, quantity_kw=price).check(at)
    replace(good, limit_price=price, quantity_kw=price * 0).check(at)
    inverted = context(2, low=0.4)
    with pytest.raises(ValueError, match=r"seller_floor 0\.4 is above buyer_ceiling 0\.34"):
        good.check(inverted)


def test_a_list_of_orders_becomes_a_book():
    lists = [[Order(1, "ask", 2.0, 0.1, 3.0), Order(0, "bid", 1.5, 0.3)], []]
    book = book_of(lists, 3, context(2))
    assert book.quantity_kw.tolist() == [[-1.5, 2.0, 0.0], [0.0] * 3]
    assert book.limit_price[0].tolist() == [0.3, 0.1, 0.0]
    assert book.arrival_s[0].tolist() == [0.0, 3.0, torch.inf]
    out = market("uniform_auction").clear(book, context(2))
    assert out.volume_kw.tolist() == [1.5, 0.0]


def test_a_seat_may_have_several_orders_in_a_list():
    lists = [
        [Order(1, "ask", 2.0, 0.2), Order(1, "bid", 1.0, 0.1), Order(2, "bid", 3.0, 0.3)],
        [Order(1, "ask", 1.0, 0.3)],
    ]
    book = book_of(lists, 3, context(2))
    assert book.owners.seat.tolist() == [0, 1, 1, 2]
    assert book.quantity_kw.tolist() == [[0.0, 2.0, -1.0, -3.0], [0.0, 1.0, 0.0, 0.0]]
    assert market("uniform_auction").clear(book, context(2)).volume_kw.tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ([Order(1, "ask", -2.0, 0.1)], "quantity_kw of seat 1 in market 0 is -2, expected more"),
        ([Order(1, "ask", 0.0, 0.1)], "quantity_kw of seat 1 in market 0 is 0, expected more"),
        ([Order(1, "ask", torch.nan, 0.1)], "quantity_kw of seat 1 in market 0 is nan"),
        ([Order(1, "bid", 1.0, -torch.inf)], "limit_price of seat 1 in market 0 is -inf"),
        ([Order(1, "bid", 1.0, 0.2, torch.nan)], "arrival_s of seat 1 in market 0 is nan"),
        ([Order(1, "bid", 1.0, 0.5)], "limit_price of seat 1 in market 0 is 0.5, expected 0.08"),
        ([Order(1, "bid", 1.0, 0.07)], "limit_price of seat 1 in market 0 is 0.07"),
        ([Order(3, "bid", 1.0, 0.2)], "seat 3 in market 0 is unknown, expected .* 0 to 2"),
        ([Order(-1, "bid", 1.0, 0.2)], "seat -1 in market 0 is unknown"),
        (
            [Order(1, "ask", 1.0, 0.2), Order(1, "bid", 1.0, 0.3)],
            r"seat 1 in market 0 bids 0\.3 and asks 0\.2, expected bids below",
        ),
        ([Order(1, "aks", 1.0, 0.2)], "did you mean 'ask'"),
        ([Order(1.5, "bid", 1.0, 0.2)], "seat 1.5 in market 0 is unknown, expected a whole"),
        ([Order(True, "bid", 1.0, 0.2)], "seat True in market 0 is unknown"),
        ([Order("1", "bid", 1.0, 0.2)], "seat '1' in market 0 is unknown"),
        (
            [Order(1, "bid", "1", 0.2)],
            "quantity_kw of seat 1 in market 0 is '1', expected a",
        ),
        ([Order(1, "bid", True, 0.2)], "quantity_kw of seat 1 in market 0 is True"),
        ([Order(1, "bid", 1.0, None)], "limit_price of seat 1 in market 0 is None"),
        ([Order(1, "bid", 1.0, 0.2, -5.0)], "arrival_s of seat 1 in market 0 is -5.0"),
    ],
)
def test_wrong_orders_in_a_list_are_named(orders, message):
    with pytest.raises((ValueError, UnknownNameError), match=message):
        book_of([orders], 3, context(1))


@pytest.mark.parametrize("wrong", [float("inf"), float("nan")])
@every_market
def test_no_parameter_is_infinite_or_no_number(name, wrong):
    fields = MARKETS[name].Config.model_fields
    for field in [field for field, of in fields.items() if of.annotation is float]:
        with pytest.raises(ValueError, match=field):
            market(name, **{field: wrong})


def test_every_market_is_described_and_has_defaults():
    for name, line in MARKETS.describe().items():
        assert line.endswith(".") or ";" in line, name
        assert market(name) is not None
        assert isinstance(MARKETS[name].claims, frozenset)
