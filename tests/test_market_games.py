"""Games: nobody gains by moving alone, values obey their axioms, the nucleolus is in the core."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.markets import MARKETS, Context, Orders
from gridbazaar.envs.markets.games.coalition_search import Game, all_below
from gridbazaar.envs.markets.games.coalitions import by_seat, members, players, worths
from gridbazaar.envs.markets.games.core import core_of
from gridbazaar.envs.markets.games.least_excess import inverse_and_rest
from gridbazaar.envs.markets.games.nucleolus import nucleolus, nucleolus_shares
from gridbazaar.envs.markets.games.price_game import equilibrium
from gridbazaar.envs.markets.games.shapley import shapley_value

F64 = torch.float64
FLOOR, CEILING = 0.08, 0.34


def market(name, **parameters):
    kind = MARKETS[name]
    return kind(validate(kind.Config, {**option("market", name), **parameters}))


def book(seed, B=20, N=8):
    g = torch.Generator().manual_seed(seed)
    quantity = torch.rand(B, N, generator=g, dtype=F64) * 10 - 5
    price = 0.06 + 0.3 * torch.rand(B, N, generator=g, dtype=F64)
    return Orders(quantity, price, torch.zeros(B, N, dtype=F64))


def context(B):
    ends = (torch.full((B, 1), price, dtype=F64) for price in (CEILING, FLOOR))
    return Context(*ends, 0.25)


def clear(name, orders, **parameters):
    return market(name, **parameters).clear(orders, context(len(orders.quantity_kw)))


def worth_by_lp(quantity, limit):
    """Largest gain from trade of some orders by HiGHS, EUR/h."""
    if not len(quantity):
        return 0.0
    solved = linprog(
        np.sign(quantity) * limit,
        A_eq=np.sign(quantity)[None],
        b_eq=[0],
        bounds=[(0, abs(q)) for q in quantity],
        method="highs",
    )
    return -solved.fun


def test_no_pair_of_prices_earns_the_leader_more():
    orders = book(0)
    profit = clear("stackelberg", orders).operator_surplus_eur / 0.25
    prices = torch.linspace(FLOOR, CEILING, 105, dtype=F64)
    quantity, limit = orders.quantity_kw.unsqueeze(-1), orders.limit_price.unsqueeze(-1)
    offered = (quantity.clamp(min=0) * (limit <= prices)).sum(-2)
    asked = ((-quantity).clamp(min=0) * (limit >= prices)).sum(-2)
    traded = torch.minimum(offered.unsqueeze(-1), asked.unsqueeze(-2))
    earned = traded * (prices - prices.unsqueeze(-1))
    assert (earned <= profit[:, None, None] + 1e-9).all()


def test_followers_respond_best_to_the_prices_that_are_set():
    orders = book(1, B=100)
    out = clear("stackelberg", orders)
    for b in (out.volume_kw > 0).nonzero().squeeze(-1).tolist():
        sold, bought = out.cleared_kw[b] > 0, out.cleared_kw[b] < 0
        buying, selling = out.price[b][sold][0], out.price[b][bought][0]
        assert FLOOR <= buying <= selling <= CEILING
        quantity, limit = orders.quantity_kw[b], orders.limit_price[b]
        # At the floor or ceiling the grid is as good: there all are indifferent.
        eager = (quantity > 0) & (limit < buying) & (buying > FLOOR)
        eager |= (quantity < 0) & (limit > selling) & (selling < CEILING)
        torch.testing.assert_close(out.cleared_kw[b][eager], quantity[eager])
        averse = ((quantity > 0) & (limit > buying)) | ((quantity < 0) & (limit < selling))
        assert (out.cleared_kw[b][averse] == 0).all()


@pytest.mark.parametrize("leaders", [2, 3, 10])
def test_no_leader_gains_by_another_volume(leaders):
    orders = book(2)
    out = clear("stackelberg", orders, leaders=leaders)
    for b in range(20):
        total = out.volume_kw[b]
        earned = out.operator_surplus_eur[b] / 0.25 / leaders
        quantity = orders.quantity_kw[b]
        limit = orders.limit_price[b].clone()
        limit = torch.where(quantity > 0, limit.clamp(min=FLOOR), limit.clamp(max=CEILING))
        others = total * (leaders - 1) / leaders
        for own in torch.linspace(0.01, 25, 400, dtype=F64):
            ask = inverse(quantity, limit, others + own)
            bid = inverse(-quantity, -limit, others + own)
            if ask is not None and bid is not None:
                assert own * (-bid - ask) <= earned + 1e-9


def inverse(quantity, limit, volume):
    """The dearest limit among the cheapest orders that together offer `volume`."""
    offers = sorted((p, q) for p, q in zip(limit.tolist(), quantity.tolist(), strict=True) if q > 0)
    for price, size in offers:
        volume = volume - size
        if volume <= 1e-12:
            return price
    return None


def test_more_leaders_trade_more_and_towards_the_auction():
    orders = book(3, B=200, N=20)
    most = clear("uniform_auction", orders).volume_kw.sum()
    volumes = [clear("stackelberg", orders, leaders=m).volume_kw.sum() for m in (1, 2, 5, 100)]
    assert volumes == sorted(volumes)
    assert volumes[0] < 0.8 * most
    assert volumes[-1] > 0.97 * most


def test_an_order_in_parts_responds_step_by_step():
    orders = Orders(
        torch.tensor([[4.0, -8.0]], dtype=F64),
        torch.tensor([[0.1, 0.3]], dtype=F64),
        torch.zeros(1, 2, dtype=F64),
    )
    volumes = {
        blocks: clear("stackelberg", orders, blocks=blocks, width=0.1).volume_kw.item()
        for blocks in (1, 4)
    }
    assert volumes[1] == 4
    assert 0 < volumes[4] < 4


def followed(cost, supply, bid, demand, posted, config):
    """What is asked of each seller at posted prices, by the formulas, one market."""
    taste, width = config.taste * (CEILING - FLOOR), config.width * (CEILING - FLOOR)
    share = supply / supply.sum()
    weight = share * np.exp(-posted / taste)
    level = -taste * np.log(weight.sum())
    bought = demand * np.clip((bid - level) / width, 0, 1)
    return weight / weight.sum(), bought


def posted_game(orders, b, out):
    """Cost, supply and posted price of the sellers that can trade; bid and demand of the buyers."""
    quantity, limit = orders.quantity_kw[b].numpy(), orders.limit_price[b].numpy()
    sells, buys = quantity > 0, quantity < 0
    limit = np.where(sells, np.maximum(limit, FLOOR), np.minimum(limit, CEILING))
    if not sells.any() or not buys.any():
        return None
    sells &= limit < limit[buys].max()
    buys &= limit > limit[sells].min(initial=np.inf)
    if not sells.any():
        return None
    return limit[sells], quantity[sells], limit[buys], -quantity[buys], sells, buys


def test_no_leading_seller_gains_by_another_price():
    """Every deviation is computed anew from the buyers' formulas."""
    orders = book(13, B=40)
    out = clear("stackelberg_sellers", orders)
    config = market("stackelberg_sellers").config
    assert out.converged.all()
    played = 0
    for b in range(40):
        game = posted_game(orders, b, out)
        if game is None:
            assert out.volume_kw[b] == 0
            continue
        cost, supply, bid, demand, sells, _ = game
        sold, price = out.cleared_kw[b].numpy()[sells], out.price[b].numpy()[sells]
        if (sold <= 1e-9).any():
            continue
        played += 1
        earned = sold * (price - cost)
        for i in range(len(cost)):
            for other in np.linspace(cost[i], bid.max(), 400):
                moved = np.where(np.arange(len(cost)) == i, other, price)
                split, bought = followed(cost, supply, bid, demand, moved, config)
                gain = (other - cost[i]) * min(split[i] * bought.sum(), supply[i]) - earned[i]
                assert gain <= 1.5 * config.tolerance * (bid.max() - cost.min()) * supply[i]
    assert played > 25


def test_the_buyers_best_response_is_the_one_played_and_where_replication_leads():
    orders = book(14, B=12)
    out = clear("stackelberg_sellers", orders)
    config = market("stackelberg_sellers").config
    like, width = config.taste * (CEILING - FLOOR), config.width * (CEILING - FLOOR)
    checked = 0
    for b in range(12):
        game = posted_game(orders, b, out)
        if game is None or (out.cleared_kw[b].numpy()[game[4]] <= 1e-9).any():
            continue
        cost, supply, bid, demand, sells, buys = game
        price, share = out.price[b].numpy()[sells], supply / supply.sum()
        split, bought = followed(cost, supply, bid, demand, price, config)
        np.testing.assert_allclose(-out.cleared_kw[b].numpy()[buys], bought, rtol=2e-3, atol=1e-9)
        # Replicator dynamics of the parts of a purchase, payoffs with the term of taste.
        part = share.copy()
        for _ in range(4000):
            payoff = -price - like * np.log(part / share)
            part = part * np.exp((payoff - part @ payoff) / like / 50)
            part /= part.sum()
        np.testing.assert_allclose(part, split, atol=1e-8)
        # No other purchase is enjoyed more.
        rng = np.random.default_rng(b)
        for j in (bought > 1e-6).nonzero()[0]:

            def enjoyed(x, j=j, price=price, share=share, bid=bid, demand=demand):
                total = x.sum()
                taste = like * (x * np.log(x / (share * total))).sum()
                return bid[j] * total - width * total**2 / 2 / demand[j] - x @ price - taste

            best = enjoyed(split * bought[j])
            assert best >= 0
            for _ in range(200):
                other = split * bought[j] * np.exp(rng.normal(size=len(split)) * 0.2)
                other *= min(1, demand[j] / other.sum())
                assert enjoyed(other) <= best + 1e-12
        checked += 1
    assert checked > 6


@pytest.mark.parametrize("stored", [0.1, 0.5])
def test_sellers_who_like_to_keep_energy_sell_less_of_it_and_still_rest(stored):
    """No other price pleases a seller more, income and what it keeps computed anew."""
    orders = book(13, B=16)
    free, out = (clear("stackelberg_sellers", orders, stored=s) for s in (0.0, stored))
    config = market("stackelberg_sellers", stored=stored).config
    span, played, checked = CEILING - FLOOR, out.converged & free.converged, 0
    assert played.double().mean() > 0.8
    assert out.volume_kw[played].sum() < 0.97 * free.volume_kw[played].sum()
    for b in played.nonzero().squeeze(-1).tolist():
        game = posted_game(orders, b, out)
        if game is None or (out.cleared_kw[b].numpy()[game[4]] <= 1e-9).any():
            continue
        checked += 1
        cost, supply, bid, demand, sells, _ = game
        price = out.price[b].numpy()[sells]

        def pleases(i, posted, cost=cost, supply=supply, bid=bid, demand=demand):
            split, bought = followed(cost, supply, bid, demand, posted, config)
            sold = min(split[i] * bought.sum(), supply[i])
            kept = supply[i] * np.log1p((supply[i] - sold) / supply[i])
            return (posted[i] - cost[i]) * sold + stored * span * kept

        for i in range(len(cost)):
            here = pleases(i, price)
            for other in np.linspace(cost[i], bid.max(), 200):
                gain = pleases(i, np.where(np.arange(len(cost)) == i, other, price)) - here
                assert gain <= 1.5 * config.tolerance * (bid.max() - cost.min()) * supply[i]
    assert checked > 3


def test_many_leading_sellers_leave_less_to_each():
    """The margin of leading sellers falls as an order is split among more of them."""
    margins = []
    for sellers in (1, 2, 5, 20):
        quantity = torch.tensor([[-6.0, -4.0, *[40.0 / sellers] * sellers]], dtype=F64)
        price = torch.tensor([[0.30, 0.25, *[0.10] * sellers]], dtype=F64)
        orders = Orders(quantity, price, torch.zeros_like(price))
        out = clear("stackelberg_sellers", orders)
        assert out.converged.all()
        margins.append((out.payment_eur[0, 2:].sum() / 0.25 - 0.10 * out.volume_kw[0]).item())
    assert margins == sorted(margins, reverse=True)
    assert margins[-1] < 0.9 * margins[0]


def seller_book(costs, sizes, bids):
    """One market of sellers and of buyers of 5 kW each."""
    quantity = torch.tensor([[*sizes, *[-5.0] * len(bids)]], dtype=F64)
    price = torch.tensor([[*costs, *bids]], dtype=F64)
    return Orders(quantity, price, torch.zeros_like(price))


@pytest.mark.parametrize("step", [None, 0.05])
def test_no_seller_gains_by_another_ask(step):
    """Whoever draws the lot, the outcome of every deviation is computed anew, seat by seat."""
    orders = book(4, B=20)
    if step:
        price = (orders.limit_price / step).round() * step
        orders = Orders(orders.quantity_kw.round(), price, orders.arrival_s)
    found = equilibrium(orders.quantity_kw, orders.limit_price)
    shared = 0
    for b in range(20):
        quantity, limit = orders.quantity_kw[b].numpy(), orders.limit_price[b].numpy()
        sells, level = quantity > 0, found.price[b].item()
        cost, size = limit[sells], quantity[sells]
        bids, demand = limit[quantity < 0], -quantity[quantity < 0]
        drawn = np.flatnonzero(found.setter[b].numpy()[sells])
        shared += len(drawn) > 1
        expected = np.zeros(len(cost))
        lots = size[drawn] / size[drawn].sum() if len(drawn) else [1.0]
        for lot, setter in zip(lots, drawn if len(drawn) else [None], strict=True):
            asks = np.where(np.arange(len(cost)) == setter, level, cost)
            sold, price = merit(asks, cost, size, bids, demand)
            assert price == pytest.approx(level)
            expected += lot * sold
            near = np.r_[bids, asks, level] if sold.any() else bids
            others = np.unique([near - 1e-4, near - 1e-9, near, near + 1e-4])
            for i in range(len(cost)):
                earned = sold[i] * (price - cost[i]) if sold[i] else 0.0
                for ask in [*others, *np.linspace(0, 0.4, 40)]:
                    moved = np.where(np.arange(len(cost)) == i, ask, asks)
                    got, reached = merit(moved, cost, size, bids, demand)
                    assert not got[i] or got[i] * (reached - cost[i]) <= earned + 1e-9
        assert found.sold_kw[b].numpy()[sells] == pytest.approx(expected)
    assert (shared > 0) == (step is not None)


def merit(asks, cost, size, bids, demand):
    """What each seller sells and the price; cheap asks first, then cheap sellers, then pro rata."""
    sold, taken, price = np.zeros(len(asks)), 0.0, -math.inf
    for ask, own in sorted(set(zip(asks, cost, strict=True))):
        rank = (asks == ask) & (cost == own)
        part = min(max(demand[bids >= ask].sum() - taken, 0.0) / size[rank].sum(), 1.0)
        taken += size[rank].sum()
        if part > 1e-12:
            sold[rank] = part * size[rank]
            price = ask
    return sold, price


def both_sides(named, true, size, k=0.5):
    """Trades and price of one market by hand: named prices, better true limits first at a tie."""
    sells, got = size > 0, np.zeros(len(size))
    asks = sorted(np.flatnonzero(sells), key=lambda i: (named[i], true[i]))
    bids = sorted(np.flatnonzero(size < 0), key=lambda i: (-named[i], -true[i]))
    left, price = np.abs(size).astype(float), math.nan
    while asks and bids and named[asks[0]] <= named[bids[0]]:
        i, j = asks[0], bids[0]
        kw = min(left[i], left[j])
        left[i], left[j] = left[i] - kw, left[j] - kw
        got[i], got[j] = got[i] + kw, got[j] - kw
        price = (1 - k) * named[i] + k * named[j]
        asks, bids = asks[int(left[i] < 1e-12) :], bids[int(left[j] < 1e-12) :]
    return got, price


@pytest.mark.parametrize("k", [0.0, 0.5, 1.0])
def test_where_buyers_play_too_nobody_gains_by_naming_another_price(k):
    orders = book(16, B=15, N=7)
    out = clear("price_game", orders, buyers="play", k=k)
    played = 0
    for b in range(15):
        size, true = orders.quantity_kw[b].numpy(), orders.limit_price[b].numpy()
        cleared, price = out.cleared_kw[b].numpy(), out.reference_price[b].item()
        if math.isnan(price):
            continue
        played += 1
        named = np.where(cleared != 0, price, true)
        got, reached = both_sides(named, true, size)
        np.testing.assert_allclose(got, cleared, atol=1e-9)
        assert reached == pytest.approx(price)
        earned = np.where(got != 0, got * (reached - true), 0.0)
        assert (earned >= -1e-9).all()
        for i in range(len(size)):
            for other in [*np.linspace(0.05, 0.37, 60), price - 1e-6, price + 1e-6]:
                moved = np.where(np.arange(len(size)) == i, other, named)
                sold, at = both_sides(moved, true, size)
                gain = sold[i] * (at - true[i]) if sold[i] else 0.0
                assert gain <= earned[i] + 1e-9
    assert played > 8


def test_buyers_who_play_end_the_market_power_of_a_single_seller():
    orders = seller_book([0.1], [4.0], [0.3, 0.25])
    prices = [
        clear("price_game", orders, buyers=who, k=0.0).reference_price.item()
        for who in ("accept", "play")
    ]
    assert prices == pytest.approx([0.3, 0.3])  # both buyers want more than there is
    plenty = seller_book([0.1], [20.0], [0.3, 0.25])
    prices = [
        clear("price_game", plenty, buyers=who, k=0.0).reference_price.item()
        for who in ("accept", "play")
    ]
    assert prices == pytest.approx([0.25, 0.1])


@pytest.mark.parametrize("apart", [0.0, 1e-7])
def test_equal_sellers_compete_as_nearly_equal_ones_do(apart):
    none_needed = clear("price_game", seller_book([0.1, 0.1 + apart, 0.1], [5] * 3, [0.3, 0.25]))
    assert none_needed.reference_price.item() == pytest.approx(0.1, abs=1e-6)
    one_needed = clear("price_game", seller_book([0.1, 0.1 + apart], [4] * 2, [0.3]))
    assert one_needed.reference_price.item() == pytest.approx(0.3)
    sold = [2.5, 2.5] if apart == 0 else [4, 1]
    assert one_needed.cleared_kw[0, :2].tolist() == pytest.approx(sold)


def test_no_buyer_of_the_price_game_pays_beyond_its_limit():
    orders = book(15, B=500, N=40)
    out = clear("price_game", orders)
    bought = out.cleared_kw < 0
    assert (out.price <= orders.limit_price)[bought].all()
    torch.testing.assert_close(out.cleared_kw.sum(-1), torch.zeros(500, dtype=F64))


def test_market_power_raises_the_price_and_costs_welfare():
    orders = book(5, B=200)
    game, auction = clear("price_game", orders), clear("uniform_auction", orders, k=0.0)
    both = ~game.reference_price.isnan() & ~auction.reference_price.isnan()
    assert (game.reference_price >= auction.reference_price - 1e-9)[both].all()
    gains = [-(c.cleared_kw * orders.limit_price).sum(-1) for c in (game, auction)]
    assert (gains[0] <= gains[1] + 1e-9).all()
    assert gains[0].sum() > 0.7 * gains[1].sum()


def test_worths_are_those_of_a_linear_programme():
    orders = book(6, B=3)
    game = players(orders.quantity_kw, orders.limit_price)
    table = worths(game)
    belongs = members(game.gain.shape[-1], torch.device("cpu"))
    for b in range(3):
        for s in range(0, len(belongs), 7):
            chosen = game.seat[b, : belongs.shape[1]][belongs[s]]
            chosen = chosen[torch.isin(chosen, game.seat[b, : game.count[b]])]
            expected = worth_by_lp(
                orders.quantity_kw[b, chosen].numpy(), orders.limit_price[b, chosen].numpy()
            )
            assert table[b, s].item() == pytest.approx(expected, abs=1e-9)


def test_the_shapley_value_is_the_mean_over_all_orders_of_joining():
    orders = book(7, B=4, N=6)
    game = players(orders.quantity_kw, orders.limit_price)
    value, error = shapley_value(game, market("shapley").config)
    by_name = by_seat(game, value, 6)
    for b in range(4):
        quantity, limit = orders.quantity_kw[b].numpy(), orders.limit_price[b].numpy()
        worth = {
            s: worth_by_lp(quantity[list(s)], limit[list(s)])
            for n in range(7)
            for s in itertools.combinations(range(6), n)
        }
        expected = np.zeros(6)
        for order in itertools.permutations(range(6)):
            for k, i in enumerate(order):
                before, after = tuple(sorted(order[:k])), tuple(sorted(order[: k + 1]))
                expected[i] += (worth[after] - worth[before]) / math.factorial(6)
        np.testing.assert_allclose(by_name[b].numpy(), expected, atol=1e-9)
    assert (error == 0).all()


@pytest.mark.parametrize("exact_players", [12, 1])
@pytest.mark.parametrize("orders_of", ["traded", "all"])
def test_shapley_axioms_of_the_payments(exact_players, orders_of):
    orders = book(8, B=50, N=10)
    quantity, price = orders.quantity_kw.clone(), orders.limit_price.clone()
    quantity[:, 1], price[:, 1] = quantity[:, 0], price[:, 0]
    quantity[:, 2], price[:, 2] = 3.0, 0.5
    orders = Orders(quantity, price, orders.arrival_s)
    out = clear("shapley", orders, exact_players=exact_players, counted_orders=orders_of)
    gained = out.payment_eur / 0.25 - out.cleared_kw * price
    auction = clear("uniform_auction", orders)
    welfare = -(auction.cleared_kw * price).sum(-1)
    torch.testing.assert_close(gained.sum(-1), welfare, msg="efficiency")
    torch.testing.assert_close(gained[:, 0], gained[:, 1], msg="symmetry")
    assert (gained[:, 2] == 0).all(), "null player"
    assert (gained >= -1e-12).all()


def test_shapley_values_add_up_over_games():
    """The value is linear in the game; here over the games of two intervals."""
    orders = book(9, B=2, N=7)
    a, b = (players(orders.quantity_kw[i : i + 1], orders.limit_price[i : i + 1]) for i in (0, 1))
    config = market("shapley").config
    K = 7
    tables = []
    for game in (a, b):
        seat = game.seat[0]
        by_name = torch.zeros(2**K, dtype=F64)
        for code, worth in enumerate(worths(game)[0].tolist()):
            by_name[sum(2 ** int(seat[k]) for k in range(K) if code >> k & 1)] = worth
        tables.append(by_name)
    both = tables[0] + tables[1]
    expected = sum(by_seat(g, shapley_value(g, config)[0], K)[0] for g in (a, b))
    belongs = members(K, torch.device("cpu"))
    for i in range(K):
        without = (~belongs[:, i]).nonzero().squeeze(-1)
        size = belongs[without].sum(-1)
        weight = torch.tensor(
            [math.factorial(s) * math.factorial(K - s - 1) / math.factorial(K) for s in size],
            dtype=F64,
        )
        value = (weight * (both[without + 2**i] - both[without])).sum()
        assert value.item() == pytest.approx(expected[i].item(), abs=1e-9)


def test_sampling_states_its_error():
    orders = book(10, B=40, N=12)
    game = players(orders.quantity_kw, orders.limit_price)
    exact, _ = shapley_value(game, market("shapley").config)
    drawn, error = shapley_value(game, market("shapley", exact_players=1).config)
    unsure = error > 1e-12
    off = ((drawn - exact) / error)[unsure]
    assert off.square().mean().sqrt() < 1.3
    assert (off.abs() < 6).all()
    torch.testing.assert_close(drawn.sum(-1), exact.sum(-1))


def excesses(share, table):
    belongs = members(len(share), torch.device("cpu")).numpy()
    return (belongs @ share - table)[1:-1]


def test_the_nucleolus_lies_in_the_core_and_no_shift_of_money_improves_it():
    orders = book(11, B=8, N=7)
    game = players(orders.quantity_kw, orders.limit_price)
    rng = np.random.default_rng(0)
    for b in (game.count > 2).nonzero().squeeze(-1).tolist():
        table = worths(game.of(torch.tensor([b])))[0].numpy()
        share, _, found = nucleolus(torch.as_tensor(table).unsqueeze(0))
        assert found
        share = share[0].numpy()
        assert share.sum() == pytest.approx(table[-1])
        ranked = np.sort(excesses(share, table))
        assert ranked[0] >= -1e-9
        for _ in range(300):
            shift = rng.normal(size=len(share)) * 10 ** rng.uniform(-4, -1)
            other = np.sort(excesses(share + shift - shift.mean(), table))
            differs = np.flatnonzero(np.abs(other - ranked) > 1e-8)
            assert not len(differs) or other[differs[0]] < ranked[differs[0]]


def test_the_nucleolus_of_published_games():
    # Bankruptcy with claims 100, 200, 300 on 100, 200, 300: Aumann and Maschler (1985), table I.
    claims = np.array([100.0, 200.0, 300.0])
    belongs = members(3, torch.device("cpu")).numpy()
    estates = np.array([100.0, 200.0, 300.0])
    tables = np.maximum(estates[:, None] - (~belongs) @ claims, 0)
    share, _, found = nucleolus(torch.as_tensor(tables))
    assert found.all()
    expected = [[100 / 3] * 3, [50, 75, 75], [50, 100, 150]]
    np.testing.assert_allclose(share.numpy(), expected, atol=1e-9)


def nucleolus_by_lp(worth):
    """The nucleolus of one game, level by level, each a linear programme by HiGHS."""
    K = len(worth).bit_length() - 1
    belongs = members(K, torch.device("cpu")).numpy().astype(float)
    scale, worth = worth[-1], worth / worth[-1]
    fixed, level = belongs[-1:], worth[-1:]
    free = np.ones(len(worth), bool)
    free[[0, -1]] = False
    while free.any() and len(fixed) < K:
        rows = np.flatnonzero(free)
        solved = linprog(
            np.r_[np.zeros(K), -1.0],
            A_ub=np.c_[-belongs[rows], np.ones(len(rows))],
            b_ub=-worth[rows],
            A_eq=np.c_[fixed, np.zeros(len(fixed))],
            b_eq=level,
            bounds=[(None, None)] * (K + 1),
            method="highs-ds",
        )
        assert solved.status == 0
        for s in rows[-solved.ineqlin.marginals > 1e-7]:
            if np.linalg.matrix_rank(np.vstack([fixed, belongs[s]])) > len(fixed):
                fixed = np.vstack([fixed, belongs[s]])
                level = np.r_[level, worth[s] + solved.x[-1]]
        basis = np.linalg.qr(fixed.T)[0]
        free &= np.abs(belongs - belongs @ basis @ basis.T).max(1) > 1e-9
    return np.linalg.lstsq(fixed, level, rcond=None)[0] * scale


@pytest.mark.parametrize("ties", [False, True])
def test_the_nucleolus_is_that_of_a_sequence_of_linear_programmes(ties):
    orders = book(14, B=60, N=9)
    quantity, price = orders.quantity_kw, orders.limit_price
    if ties:
        quantity, price = quantity.round(), (price * 20).round() / 20
    game = players(quantity, price)
    compared = 0
    for K in range(2, 10):
        markets = (game.count == K).nonzero().squeeze(-1)
        if len(markets):
            table = worths(game.of(markets))
            share, levels, found = nucleolus(table)
            assert found.all()
            assert (levels <= K - 1).all()
            expected = np.stack([nucleolus_by_lp(row) for row in table.numpy()])
            off = np.abs(share.numpy() - expected).max(1) / table[:, -1].numpy()
            assert off.max() < 1e-6
            compared += len(markets)
    assert compared > 50


def test_the_nucleolus_halves_the_gain_of_two_and_pays_within_the_core():
    two = Orders(
        torch.tensor([[2.0, -2.0]], dtype=F64),
        torch.tensor([[0.1, 0.3]], dtype=F64),
        torch.zeros(1, 2, dtype=F64),
    )
    assert clear("nucleolus", two).price[0].tolist() == pytest.approx([0.2, 0.2])


def test_the_nucleolus_trades_the_most_in_markets_of_any_size():
    for seats, markets in ((8, 100), (13, 12), (20, 4), (41, 1)):
        orders = book(0, B=markets, N=seats)
        out = clear("nucleolus", orders, proven_players=10)
        assert out.converged.all()
        most = clear("uniform_auction", orders)
        torch.testing.assert_close(out.cleared_kw, most.cleared_kw)
        gain = out.payment_eur / 0.25 - out.cleared_kw * orders.limit_price
        assert (gain >= -1e-9).all()
        welfare = -(most.cleared_kw * orders.limit_price).sum(-1)
        torch.testing.assert_close(gain.sum(-1), welfare)


@pytest.mark.parametrize("proven_players", [24, 1])
@pytest.mark.parametrize("ties", [False, True])
def test_generated_coalitions_lead_to_the_nucleolus_of_all(ties, proven_players):
    """Core and search against the programmes over all coalitions, which HiGHS confirms above."""
    orders = book(14, B=60, N=10)
    quantity, price = orders.quantity_kw, orders.limit_price
    if ties:
        quantity, price = quantity.round(), (price * 20).round() / 20
    game = players(quantity, price)
    listed = nucleolus_shares(game, market("nucleolus").config)
    config = market("nucleolus", max_players=1, proven_players=proven_players).config
    searched = nucleolus_shares(game, config)
    assert searched.found.all()
    unit = listed.value.sum(-1, keepdim=True).clamp(min=1e-9)
    off = ((searched.value - listed.value) / unit).abs().amax(-1)
    if proven_players == 24:
        assert (searched.gap == 0).all()
        assert off.max() < 1e-6
    else:  # what the bound says holds, and most are found
        assert (off <= searched.gap / unit.squeeze(-1) + 1e-9).all()
        assert (off < 1e-6).double().mean() > 0.8
        assert (searched.gap > 0).any()
    assert bool(core_of(game).is_point.any()) == ties


def test_a_core_of_one_point_is_the_nucleolus():
    """Two sellers of 5 kW and three buyers of 5: nobody would miss a buyer; and the reverse."""
    quantity = torch.tensor([[5.0, 5, -5, -5, -5], [5, 5, 5, -5, -5]], dtype=F64)
    price = torch.tensor([[0.1, 0.1, 0.3, 0.3, 0.3], [0.1, 0.1, 0.1, 0.3, 0.3]], dtype=F64)
    game = players(quantity, price)
    core = core_of(game)
    assert core.is_point.all()
    sellers_have = by_seat(game, core.point, 5)
    expected = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 1, 1]], dtype=F64)
    torch.testing.assert_close(sellers_have, expected)
    listed = nucleolus_shares(game, market("nucleolus").config)
    torch.testing.assert_close(by_seat(game, listed.value, 5), expected)


@pytest.mark.parametrize("players_", [6, 15])
def test_the_search_finds_every_coalition_below_a_level(players_):
    """All by brute force, those that settled ones add up to left out; a fault would miss some."""
    draw = torch.Generator().manual_seed(players_)
    gain = torch.rand(players_, 7, generator=draw, dtype=F64)
    share = torch.rand(players_, generator=draw, dtype=F64)
    game = Game(gain, torch.zeros(7, dtype=F64))
    belongs = members(players_, torch.device("cpu")).to(F64)
    settled = torch.stack([torch.ones(players_, dtype=F64), belongs[3]])
    rest = inverse_and_rest(settled.T @ settled)[1]
    excess = belongs @ share - game.worth(belongs)
    reaches = ((belongs @ rest) * belongs).sum(-1) > 1e-8
    assert reaches.sum() == 2**players_ - 4
    level = excess[reaches].sort().values[19:21].mean().item()
    found = all_below(game, share, rest, level, 1000)
    expected = belongs[reaches & (excess < level)]
    assert len(expected) == 20
    assert {tuple(row) for row in found.tolist()} == {tuple(row) for row in expected.tolist()}


def test_the_searched_nucleolus_has_the_slopes_of_central_differences():
    orders = book(15, B=12, N=7)
    kind = market("nucleolus", max_players=1)
    price = orders.limit_price.clone().requires_grad_()
    weight = torch.randn(12, 7, generator=torch.Generator().manual_seed(0), dtype=F64)
    shift = torch.randn(12, 7, generator=torch.Generator().manual_seed(1), dtype=F64) * 0.1

    def paid(price):
        moved = Orders(orders.quantity_kw, price, orders.arrival_s)
        return (kind.clear(moved, context(12)).payment_eur * weight).sum(-1)

    slope = torch.autograd.grad(paid(price).sum(), price)[0]
    up, down = (paid(orders.limit_price + step * shift) for step in (1e-6, -1e-6))
    measured, here = (up - down) / 2e-6, paid(orders.limit_price)
    smooth = (up + down - 2 * here).abs() / 1e-6 < 1e-3 * (1 + measured.abs())
    assert smooth.sum() >= 8
    expected = (slope * shift).sum(-1)
    torch.testing.assert_close(expected[smooth], measured[smooth], rtol=1e-6, atol=1e-6)


def test_a_market_beyond_the_cap_goes_to_the_grid_or_is_refused():
    orders = book(12, B=4, N=30)
    out = clear("nucleolus", orders, most_players=4)
    assert not out.converged.any()
    assert (out.cleared_kw == 0).all()
    assert (out.payment_eur == 0).all()
    with pytest.raises(ValueError, match="seats that can gain by trading, expected at most 4"):
        clear("nucleolus", orders, most_players=4, beyond="error")
