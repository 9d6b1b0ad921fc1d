"""Community prices, matching and CE-SDT against their published formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.markets import MARKETS, Clearing, Context, GridContext, Orders
from gridbazaar.envs.markets.auctions.ce_sdt import hints, suggest
from gridbazaar.envs.markets.bilateral.stable_matching import match
from gridbazaar.envs.markets.community_prices.equal_increment import fill_evenly

F64 = torch.float64
FEED, RETAIL, H = 0.08, 0.34, 0.25
POSTED = ["mid_market_rate", "supply_demand_ratio", "compensated", "equal_increment"]
FAMILY = [*POSTED, "average_cost", "stable_matching", "ce_sdt"]


def market(name: str, **parameters: Any) -> Any:
    kind = MARKETS[name]
    return kind(validate(kind.Config, {**option("market", name), **parameters}))


def context(B: int, history: Tensor | None = None, grid: GridContext | None = None) -> Context:
    high, low = torch.full((B, 1), RETAIL, dtype=F64), torch.full((B, 1), FEED, dtype=F64)
    return Context(high, low, H, history, grid)


def place(distance: Tensor, green: Tensor) -> GridContext:
    unused: Any = None
    return GridContext(distance, green, unused, unused, unused, unused, unused)


def random_orders(seed: int, B: int = 100, N: int = 11, spread: float = 0.0) -> Orders:
    """Limits within the grid's two prices, or `spread` beyond; a fifth of the seats idle."""
    g = torch.Generator().manual_seed(seed)
    quantity = torch.rand(B, N, generator=g, dtype=F64) * 10 - 5
    quantity *= torch.rand(B, N, generator=g) > 0.2
    share = torch.rand(B, N, generator=g, dtype=F64) * (1 + 2 * spread) - spread
    return Orders(quantity, FEED + (RETAIL - FEED) * share, torch.zeros_like(quantity))


def eager_orders(quantity: list[float]) -> Orders:
    """Sellers who take any price and buyers who give any."""
    kw = torch.tensor([quantity], dtype=F64)
    return Orders(kw, torch.where(kw > 0, 0.0, 1.0).to(F64), torch.zeros_like(kw))


def mean_prices(orders: Orders, out: Clearing) -> Tensor:
    """What a kWh of the whole order fetched or cost, the rest traded with the grid, [B, N]."""
    rest = orders.quantity_kw - out.cleared_kw
    grid = torch.where(rest > 0, rest * FEED, rest * RETAIL)
    return (out.payment_eur / H + grid) / orders.quantity_kw


def gain_over_grid(orders: Orders, out: Clearing) -> Tensor:
    grid_price = torch.where(orders.quantity_kw > 0, *torch.tensor([FEED, RETAIL], dtype=F64))
    return out.payment_eur - out.cleared_kw * grid_price * H


@pytest.mark.parametrize(("supply", "demand"), [(4.0, 4.0), (9.0, 4.0), (4.0, 9.0)])
def test_mid_market_rate_has_the_three_cases_of_its_paper(supply, demand):
    orders = eager_orders([supply / 4, supply * 3 / 4, -demand / 2, -demand / 2])
    out = market("mid_market_rate").clear(orders, context(1))
    mid = (FEED + RETAIL) / 2
    sell = mid if supply <= demand else (demand * mid + (supply - demand) * FEED) / supply
    buy = mid if supply >= demand else (supply * mid + (demand - supply) * RETAIL) / demand
    expected = torch.tensor([[sell, sell, buy, buy]], dtype=F64)
    torch.testing.assert_close(mean_prices(orders, out), expected)


@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.999, 1.0, 2.5])
@pytest.mark.parametrize("compensation", [0.0, 0.2, 1.0])
def test_ratio_prices_are_the_published_formulas(ratio, compensation):
    orders = eager_orders([10 * ratio, -6.0, -4.0])
    name = "compensated" if compensation else "supply_demand_ratio"
    out = market(name, **({"compensation": compensation} if compensation else {})).clear(
        orders, context(1)
    )
    extra = compensation * (RETAIL - FEED)
    low = FEED + extra
    if ratio <= 1:
        sell = low * RETAIL / ((RETAIL - low) * ratio + low)
        buy = sell * ratio + RETAIL * (1 - ratio)
    else:
        sell, buy = FEED + extra / ratio, FEED + extra
    expected = torch.tensor([[sell, buy, buy]], dtype=F64)
    torch.testing.assert_close(mean_prices(orders, out), expected)


@pytest.mark.parametrize(
    ("name", "compensation"), [("supply_demand_ratio", 0.0), ("compensated", 0.1)]
)
def test_the_ratio_is_of_the_orders_that_accept_its_price(name, compensation):
    orders = random_orders(0, spread=0.3)
    out = market(name).clear(orders, context(100))
    price = out.reference_price.unsqueeze(-1)
    quantity, limit = orders.quantity_kw, orders.limit_price
    low = FEED + compensation * (RETAIL - FEED)

    def formula(asks: Tensor, bids: Tensor) -> Tensor:
        ratio = (quantity * asks).sum(-1) / -(quantity * bids).sum(-1)
        return torch.where(ratio > 1, low, low * RETAIL / ((RETAIL - low) * ratio + low))

    sells, buys, traded = quantity > 0, quantity < 0, ~price.squeeze(-1).isnan()
    with_marginal = formula(sells & (limit <= price), buys & (limit > price))
    without = formula(sells & (limit < price), buys & (limit >= price))
    assert traded.sum() > 50
    assert (with_marginal - price.squeeze(-1))[traded].max() < 1e-9
    without = torch.where(without.isnan(), torch.inf, without)
    assert (price.squeeze(-1) - without)[traded].max() < 1e-9
    interior = traded & ~(limit == price).any(-1)
    assert interior.sum() > 10
    torch.testing.assert_close(with_marginal[interior], price.squeeze(-1)[interior])


@pytest.mark.parametrize("feed_in", [0.0, -0.05])
def test_ratio_prices_stand_worthless_feed_in(feed_in):
    orders = random_orders(1)
    prices = Context(
        torch.full((100, 1), RETAIL, dtype=F64), torch.full((100, 1), feed_in, dtype=F64), H
    )
    for name in ("supply_demand_ratio", "compensated"):
        out = market(name).clear(orders, prices)
        assert out.payment_eur.isfinite().all()
        assert (out.price[out.cleared_kw != 0] >= feed_in).all()


@pytest.mark.parametrize("name", [*POSTED, "average_cost"])
def test_community_prices_lie_between_feed_in_and_retail(name):
    out = market(name).clear(random_orders(2, spread=0.5), context(100))
    price = out.price[out.cleared_kw != 0]
    assert len(price) > 100
    assert price.min() >= FEED
    assert price.max() <= RETAIL


def test_compensation_leaves_every_seat_better_off_than_alone():
    orders = random_orders(3, spread=1.0)
    gain = gain_over_grid(orders, market("compensated").clear(orders, context(100)))
    assert gain.min() >= 0
    plenty = eager_orders([5.0, 5.0, -1.0, -1.0])
    gain = gain_over_grid(plenty, market("compensated").clear(plenty, context(1)))
    assert gain.min() > 1e-3
    uncompensated = market("supply_demand_ratio").clear(plenty, context(1))
    assert gain_over_grid(plenty, uncompensated)[0, :2].abs().max() < 1e-12
    inverted = Context(torch.full((1, 1), 0.05, dtype=F64), torch.full((1, 1), FEED, dtype=F64), H)
    assert market("compensated").clear(plenty, inverted).volume_kw == 0


def test_buyers_share_one_bill_by_consumption():
    orders = random_orders(4)
    out = market("average_cost").clear(orders, context(100))
    buys = out.cleared_kw < 0
    demand = -(orders.quantity_kw * buys).sum(-1)
    bill = out.payment_eur.clamp(min=0).sum(-1) / H + RETAIL * (demand - out.volume_kw)
    share = (bill / demand).unsqueeze(-1).expand_as(buys)[buys]
    torch.testing.assert_close(mean_prices(orders, out)[buys], share)
    sells = out.cleared_kw > 0
    torch.testing.assert_close(out.price[sells], orders.limit_price[sells])


@pytest.mark.parametrize("quantity", [[2.0, 1.0, -4.0, -1.0], [6.0, 3.0, -4.0, -1.0]])
def test_free_energy_shares_the_bill_as_published(quantity):
    orders = eager_orders(quantity)
    grid = Context(torch.full((1, 1), RETAIL, dtype=F64), torch.zeros(1, 1, dtype=F64), H)
    out = market("average_cost").clear(orders, grid)
    demand = -orders.quantity_kw[0, 2:]
    bought = -out.cleared_kw[0, 2:]
    paid = (demand - bought) * RETAIL - out.payment_eur[0, 2:] / H
    imported = max(-sum(quantity), 0.0) * RETAIL
    torch.testing.assert_close(paid, imported * demand / demand.sum())


@pytest.mark.parametrize("surplus", [-3.0, 0.0, 4.0])
def test_bill_sharing_is_the_published_bill(surplus):
    """Import costs by consumption, export income by generation: Long et al.'s formulas by hand."""
    orders = eager_orders([2.0, 5.0 + surplus, -4.0, -3.0])
    out = market("bill_sharing").clear(orders, context(1))
    quantity = orders.quantity_kw[0]
    left = quantity - out.cleared_kw[0]
    paid = left.clamp(max=0) * RETAIL + left.clamp(min=0) * FEED + out.payment_eur[0] / H
    generated, consumed = quantity.clamp(min=0), (-quantity).clamp(min=0)
    cost = max(-surplus, 0.0) * RETAIL * consumed / consumed.sum()
    income = max(surplus, 0.0) * FEED * generated / generated.sum()
    torch.testing.assert_close(paid, income - cost)
    assert out.reference_price == 0


def test_bill_sharing_leaves_offers_that_name_a_price_to_their_devices():
    orders = eager_orders([2.0, 3.0, -4.0, -3.0])
    price = orders.limit_price.clone()
    price[0, 1], price[0, 3] = FEED + 0.01, RETAIL - 0.01
    out = market("bill_sharing").clear(replace(orders, limit_price=price), context(1))
    assert out.cleared_kw[0].tolist() == [2.0, 0.0, -2.0, 0.0]


def test_pool_fills_in_equal_increments():
    orders = random_orders(5)
    out = market("equal_increment").clear(orders, context(100))
    wanted, got = orders.quantity_kw, out.cleared_kw
    for side in (1, -1):
        filled = (got * side).clamp(min=0)
        short = (filled > 0) & (filled < wanted * side - 1e-9)
        level = torch.where(short, filled, 0.0).amax(-1, keepdim=True)
        assert torch.where(short, filled - level, 0.0).abs().max() < 1e-9
        full = (filled > 0) & ~short & (level > 0)
        assert (filled - level)[full].max() < 1e-9


def test_even_filling_is_handing_out_step_by_step():
    g = torch.Generator().manual_seed(6)
    wanted = torch.randint(0, 6, (20, 7), generator=g).to(F64)
    volume = (wanted.sum(-1, keepdim=True) * torch.rand(20, 1, generator=g, dtype=F64)).floor()
    steps = 420  # a common multiple of all head counts: every round divides into whole steps
    for need, total, level in zip(wanted, volume, fill_evenly(wanted, volume), strict=True):
        given, left = np.zeros(7), total.item() * steps
        while left > 1e-6:
            open_ = given < need.numpy() * steps - 1e-9
            step = min(left / open_.sum(), (need.numpy() * steps - given)[open_].min())
            given[open_] += step
            left -= step * open_.sum()
        np.testing.assert_allclose(level.numpy(), given / steps, atol=1e-9)


def seats_on_a_line(N: int, seed: int, ties: bool) -> GridContext:
    g = torch.Generator().manual_seed(seed)
    position = torch.rand(N, generator=g, dtype=F64)
    if ties:
        position = (position * 3).round()
    return place((position[:, None] - position).abs(), torch.rand(N, generator=g) > 0.5)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("green_weight", [0.0, 0.5])
def test_no_pair_blocks_a_matching(ties, green_weight):
    B, N = 60, 12
    orders, where = random_orders(7, B, N), seats_on_a_line(N, 8, ties)
    kind = market("stable_matching", green_weight=green_weight)
    out = kind.clear(orders, context(B, grid=where))
    assert out.converged.all()
    supply, demand = orders.quantity_kw.clamp(min=0), orders.quantity_kw.clamp(max=0).neg()
    acceptable = orders.limit_price.unsqueeze(-1) <= orders.limit_price.unsqueeze(-2)
    score = torch.where(acceptable, kind.score(where, supply), torch.inf)
    trades, _, _ = match(supply, demand, score)
    traded = torch.zeros(B, N, N, dtype=F64)
    traded.index_put_(trades[:3], trades.kw, accumulate=True)
    torch.testing.assert_close(traded.sum(-1) - traded.sum(-2), out.cleared_kw)

    # Each side's preference by itself: sellers the nearest, buyers the nearest and the green.
    dislike = where.distance / where.distance.max()
    to_buyer = dislike - green_weight * where.green.to(F64).unsqueeze(-1)
    # Whom a seat still serves it would leave for a better one; a rest it would give to anybody.
    partner = traded > 1e-9
    worst_of_seller = torch.where(partner, dislike, -torch.inf).amax(-1)
    worst_of_seller[traded.sum(-1) < supply - 1e-9] = torch.inf
    worst_of_buyer = torch.where(partner, to_buyer, -torch.inf).amax(-2)
    worst_of_buyer[traded.sum(-2) < demand - 1e-9] = torch.inf
    wanted = acceptable & (supply > 0).unsqueeze(-1) & (demand > 0).unsqueeze(-2)
    seller_gains = dislike + 1e-5 < worst_of_seller.unsqueeze(-1)
    buyer_gains = to_buyer + 1e-5 < worst_of_buyer.unsqueeze(-2)
    assert not (wanted & seller_gains & buyer_gains).any()


def test_neighbours_and_green_sellers_come_first():
    orders = eager_orders([2.0, 2.0, -2.0])
    distance = torch.tensor([[0.0, 3, 1], [3, 0, 2], [1, 2, 0]], dtype=F64)
    for weight, sold in ((0.0, [2.0, 0.0]), (0.5, [0.0, 2.0])):
        where = place(distance, torch.tensor([False, True, False]))
        out = market("stable_matching", green_weight=weight).clear(orders, context(1, grid=where))
        assert out.cleared_kw[0, :2].tolist() == sold


def test_equally_near_partners_share_pro_rata():
    orders = eager_orders([1.0, 3.0, -1.0, -1.0])
    where = place(torch.zeros(4, 4, dtype=F64), torch.zeros(4, dtype=torch.bool))
    out = market("stable_matching").clear(orders, context(1, grid=where))
    expected = torch.tensor([[0.5, 1.5, -1.0, -1.0]], dtype=F64)
    torch.testing.assert_close(out.cleared_kw, expected)


def test_suggestions_are_the_papers_equations():
    history = torch.tensor([[0.2, 0.16, torch.nan]], dtype=F64)
    kind = market("ce_sdt", lambda_=0.4, mu=0.3, beta=1.2, nu=0.2)
    surplus, need = torch.full((1, 1), 3.0, dtype=F64), torch.full((1, 1), 5.0, dtype=F64)
    selling, buying = suggest(surplus, need, context(1, history), kind.config)
    root = np.sqrt(RETAIL * (0.2 + 0.16))
    assert selling.item() == pytest.approx(0.4 * RETAIL * 3 / 8 + 0.3 * root)
    assert buying.item() == pytest.approx(1.2 * RETAIL * 5 / 8 - 0.2 * root)
    kind = market("ce_sdt", lambda_=9.0, mu=0.0, beta=0.0, nu=0.0)
    selling, buying = suggest(surplus, need, context(1), kind.config)
    assert (selling.item(), buying.item()) == (RETAIL, FEED)


def contract(kind: Any, orders: Orders, hints: tuple[float, float], b: int) -> np.ndarray:
    """Pair offers and requests one by one; returns the money per seat in EUR/h."""
    quantity, limit = orders.quantity_kw[b].numpy(), orders.limit_price[b].numpy()
    asks = sorted((limit[i], i, quantity[i]) for i in np.flatnonzero(quantity > 0))
    bids = sorted((-limit[i], i, -quantity[i]) for i in np.flatnonzero(quantity < 0))
    # The largest volume, and the last bid and ask in it.
    volume, best = 0.0, (np.nan, np.nan)
    for ask, _, _ in asks:
        for bid, _, _ in bids:
            supply = sum(q for a, _, q in asks if a <= ask)
            demand = sum(q for c, _, q in bids if c <= bid)
            if ask <= -bid and min(supply, demand) > volume + 1e-12:
                volume, best = min(supply, demand), (ask, -bid)
    offers = sorted((max(a, min(hints[0], best[1])), i, q) for a, i, q in asks)
    requests = sorted((-min(-c, max(hints[1], best[0])), i, q) for c, i, q in bids)
    money, share = np.zeros(len(quantity)), kind.config.seller_share
    while volume > 1e-12:
        (offer, seller, q), (request, buyer, r) = offers[0], requests[0]
        kw = min(q, r, volume)
        price = share * offer - (1 - share) * request
        money[seller] += kw * price
        money[buyer] -= kw * price
        volume -= kw
        offers = ([(offer, seller, q - kw)] if q - kw > 1e-12 else []) + offers[1:]
        requests = ([(request, buyer, r - kw)] if r - kw > 1e-12 else []) + requests[1:]
    return money


def test_offers_are_sorted_and_accepted_until_requests_are_met():
    B = 40
    orders = random_orders(9, B, 8)
    # Suggestions at the grid's prices move no order: no two stand at the same price.
    kind = market("ce_sdt", lambda_=0.0, mu=0.0, beta=1e6, nu=0.0)
    out = kind.clear(orders, context(B))
    for b in range(B):
        np.testing.assert_allclose(
            out.payment_eur[b].numpy() / H, contract(kind, orders, (FEED, RETAIL), b), atol=1e-9
        )


def test_suggestions_move_the_price_within_the_limits():
    orders = Orders(
        torch.tensor([[2.0, -2.0]], dtype=F64),
        torch.tensor([[0.1, 0.3]], dtype=F64),
        torch.zeros(1, 2, dtype=F64),
    )
    kind = market("ce_sdt", lambda_=0.0, mu=1.0, beta=0.0, nu=0.0)
    # The buyer requests at the ask; the seller offers the suggestion, but no more than the bid.
    for suggested, offer in ((0.05, 0.1), (0.24, 0.24), (0.33, 0.3)):
        history = torch.full((1, 1), suggested**2 / RETAIL, dtype=F64)
        out = kind.clear(orders, context(1, history))
        assert out.reference_price.item() == pytest.approx((offer + 0.1) / 2)


def test_a_seat_is_told_a_price_of_its_own_quantity():
    kind = market("ce_sdt", scope="seat", lambda_=0.8, mu=0.0, beta=0.9, nu=0.0)
    book = torch.tensor([[3.0, 1.0, -4.0, -2.0, 0.0]], dtype=F64)
    selling, buying = hints(book, context(1), kind.config)
    # Beside the mean order of the other side: 3 kW of two buyers, 2 kW of two sellers.
    assert selling[0, 0].item() == pytest.approx(0.8 * RETAIL * 3 / 6)
    assert selling[0, 1].item() == pytest.approx(max(0.8 * RETAIL * 1 / 4, FEED))
    assert buying[0, 2].item() == pytest.approx(0.9 * RETAIL * 4 / 6)
    assert buying[0, 3].item() == pytest.approx(0.9 * RETAIL * 2 / 4)
    out = kind.clear(eager_orders([3.0, 1.0, -4.0, -2.0]), context(1))
    # The cheapest offer and the dearest request are paired first, (12) and (13): seat 2, then 3.
    assert out.cleared_kw[0].tolist() == pytest.approx([3.0, 1.0, -4.0, 0.0])


def test_without_bidding_the_grid_serves_those_who_are_told_its_price():
    orders = eager_orders([5.0, -4.0, -1.0])
    plain = {"lambda_": 0.5, "mu": 0.0, "nu": 0.0, "no_bidding": True}
    kind = market("ce_sdt", scope="seat", beta=3.0, **plain)
    told = hints(orders.quantity_kw, context(1), kind.config)[1]
    # 4 kW beside an offer of 5 are told 3 x 4/9 of the ceiling, cut to it; 1 kW is told 3 x 1/6.
    assert told[0, 1:].tolist() == pytest.approx([RETAIL, RETAIL / 2])
    assert kind.clear(orders, context(1)).cleared_kw[0].tolist() == pytest.approx([1.0, 0.0, -1.0])
    everybody = market("ce_sdt", beta=9.0, **plain)
    assert (everybody.clear(orders, context(1)).cleared_kw == 0).all()


@pytest.mark.parametrize("change", [{"scope": "seat"}, {"no_bidding": True, "beta": 2.5}])
def test_limits_and_balance_hold_under_the_options_of_ce_sdt(change):
    orders = random_orders(13, spread=0.5)
    out = market("ce_sdt", **change).clear(orders, context(100, torch.full((100, 8), 0.2)))
    assert (out.cleared_kw.abs() > 0).any()
    torch.testing.assert_close(out.cleared_kw.sum(-1), torch.zeros(100, dtype=F64))
    torch.testing.assert_close(out.payment_eur.sum(-1), torch.zeros(100, dtype=F64))
    gain = orders.limit_price * out.cleared_kw * H - out.payment_eur
    assert (gain <= 1e-9).all()


def test_offers_after_the_timeout_are_left_out():
    orders = eager_orders([2.0, 2.0, -2.0])
    late = Orders(orders.quantity_kw, orders.limit_price, torch.tensor([[10.0, 99.0, 10.0]]))
    out = market("ce_sdt", offer_timeout_s=60).clear(late, context(1))
    assert out.cleared_kw.tolist() == [[2.0, 0.0, -2.0]]


@pytest.mark.parametrize("name", FAMILY)
def test_orders_that_do_not_trade_could_have_stayed_away(name):
    orders = random_orders(10, spread=0.5)
    where = seats_on_a_line(11, 11, ties=True)
    history = torch.full((100, 8), 0.2, dtype=F64)
    first = market(name).clear(orders, context(100, history, where))
    trading = first.cleared_kw.abs() > 1e-12
    remaining = Orders(orders.quantity_kw * trading, orders.limit_price, orders.arrival_s)
    again = market(name).clear(remaining, context(100, history, where))
    torch.testing.assert_close(again.cleared_kw, first.cleared_kw, rtol=0, atol=1e-9)
    torch.testing.assert_close(again.payment_eur, first.payment_eur, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FAMILY)
def test_limits_hold_beyond_the_grids_prices_and_in_single_precision(name):
    orders = random_orders(12, spread=1.0)
    fields = (orders.quantity_kw, orders.limit_price, orders.arrival_s)
    single = Orders(*[values.float() for values in fields])
    for book in (orders, single):
        dtype = book.quantity_kw.dtype
        history = torch.linspace(-0.1, 0.4, 800, dtype=dtype).view(100, 8)
        limits = Context(
            torch.full((100, 1), RETAIL, dtype=dtype),
            torch.full((100, 1), FEED, dtype=dtype),
            H,
            history,
        )
        out = market(name).clear(book, limits)
        gain = (out.price - book.limit_price) * out.cleared_kw.sign()
        assert gain.min() >= 0
        tolerance = 1e-9 if dtype is F64 else 1e-4
        assert out.cleared_kw.sum(-1).abs().max() < tolerance
        assert out.operator_surplus_eur.abs().max() < tolerance
        assert (out.cleared_kw.abs() <= book.quantity_kw.abs() * (1 + 1e-5)).all()
