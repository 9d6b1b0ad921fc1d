"""What each classic bidder's paper says of it, plans against HiGHS, and the open book's rules."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import game_of
from scipy.optimize import linprog

from gridbazaar import envs
from gridbazaar.agents.bidders import make
from gridbazaar.agents.bidders.adaptive_aggressive import _aggressiveness_of, _target
from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.gjerstad_dickhaut import Events, beliefs
from gridbazaar.agents.bidders.price_rule import News, Traders
from gridbazaar.agents.bidders.storage_plan import Outlook, Store, plan
from gridbazaar.envs.observation import FEATURES, read
from gridbazaar.studies import bidder_validation

ROOT = Path(__file__).parents[1]
RULES = envs.world().task.rules
GAME = game_of(RULES)
EFFICIENCY, WEAR = 0.95, 0.05
F64 = torch.float64


@pytest.fixture(scope="module")
def bench():
    return bidder_validation


@pytest.fixture(scope="module")
def seen(town):
    return town.simulation(num_envs=2).reset()


def shown(observation, **values):
    """Return the observation with features, in physical units, replaced for all seats."""
    changed = observation.clone()
    for i, feature in enumerate(FEATURES):
        if feature.name in values:
            changed[..., i] = values[feature.name] * feature.scale
    return changed


def decided(action, observation, game=GAME):
    low, high = (read(observation, name)[:, :1] for name in ("day_low", "day_high"))
    return game.meaning(low, high).decide(action)


def limits(decision):
    """Return bid and ask [B, N, 1] of a seat's device, as the simulation has them."""
    value, margin = decision.value, decision.margin
    bid = value * GAME.efficiency - margin
    return bid, value / GAME.efficiency + GAME.wear_price + margin


def random_stores(count, stages, seed=0):
    """Seats with a store, prices in the order that a tariff has them, some without surplus."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=draw, dtype=F64)

    export = uniform(0, 0.1, 1, count, stages)
    own = export + uniform(0, 0.3, 1, count, stages)
    outlook = Outlook(
        hours=uniform(0, 3, 1, count, stages),
        net_kw=uniform(-4, 4, 1, count, stages),
        own_price=own,
        export_price=export,
        grid_price=own + uniform(0, 0.1, 1, count, stages),
    )
    costs = (torch.full((1, count), value, dtype=F64) for value in (EFFICIENCY, WEAR))
    store = Store(*(uniform(0.1, 6, 1, count) for _ in range(4)), uniform(0, 0.3, 1, count), *costs)
    return store, outlook


def best_value(store, outlook, seat, first_kw=None, more_kwh=0.0, impatience=0.0):
    """Solve one seat's plan with HiGHS; `first_kw` fixes the first stage's power."""
    at = (0, seat)
    hours, net = outlook.hours[at].numpy(), outlook.net_kw[at].numpy()
    K, eff = len(hours), EFFICIENCY
    # Energy per stage: charged from surplus and grid, discharged to own use and grid.
    waiting = impatience * (hours.cumsum() - hours)
    cost = np.concatenate(
        [
            outlook.export_price[at].numpy() + waiting * eff,
            outlook.grid_price[at].numpy() + waiting * eff,
            -outlook.own_price[at].numpy() + WEAR + waiting / eff,
            -outlook.export_price[at].numpy() + WEAR + waiting / eff,
        ]
    )
    charge, discharge = float(store.charge_kw[at]), float(store.discharge_kw[at])
    ends = (net.clip(min=0) * hours, charge * hours, (-net).clip(min=0) * hours, discharge * hours)
    bounds = [(0, float(end)) for part in ends for end in part]
    eye, to_date = np.eye(K), np.tril(np.ones((K, K)))
    ratings = np.block([[eye, eye, 0 * eye, 0 * eye], [0 * eye, 0 * eye, eye, eye]])
    stored = np.block([to_date * eff, to_date * eff, -to_date / eff, -to_date / eff])
    start, room = float(store.stored_kwh[at]) + more_kwh, float(store.room_kwh[at]) - more_kwh
    worth = float(store.end_worth[at])
    fixed = {}
    if first_kw is not None:
        row = np.zeros((1, 4 * K))
        row[0, [0, K, 2 * K, 3 * K]] = -1, -1, 1, 1
        fixed = {"A_eq": row, "b_eq": [first_kw * hours[0]]}
    solved = linprog(
        cost - worth * stored[-1],
        A_ub=np.vstack([ratings, stored, -stored]),
        b_ub=np.concatenate(
            [charge * hours, discharge * hours, np.full(K, room), np.full(K, start)]
        ),
        bounds=bounds,
        method="highs",
        **fixed,
    )
    assert solved.status == 0, solved.message
    return worth * start - solved.fun


@pytest.mark.parametrize("impatience", [0.0, 0.004])
def test_a_plan_begins_as_an_optimal_plan_of_highs(impatience):
    store, outlook = random_stores(40, 7)
    power, _ = plan(store, outlook, impatience)
    for seat in range(40):
        best = best_value(store, outlook, seat, impatience=impatience)
        ours = best_value(
            store, outlook, seat, first_kw=float(power[0, seat]), impatience=impatience
        )
        assert ours == pytest.approx(best, abs=1e-8)


def test_a_plan_names_the_marginal_worth_of_stored_energy():
    store, outlook = random_stores(30, 6, seed=1)
    _, worth = plan(store, outlook, 0.0)
    step = 1e-4
    for seat in range(30):
        less, here, more = (
            best_value(store, outlook, seat, more_kwh=sign * step) for sign in (-1, 0, 1)
        )
        assert (more - here) / step <= float(worth[0, seat]) + 1e-6
        assert float(worth[0, seat]) <= (here - less) / step + 1e-6


def test_a_store_without_room_or_energy_rests():
    store, outlook = random_stores(5, 4)
    none = torch.zeros_like(store.stored_kwh)
    empty = replace(store, stored_kwh=none, room_kwh=none)
    power, worth = plan(empty, outlook, 0.0)
    assert power.abs().max() == 0
    assert worth.isfinite().all()


def car(seen, **values):
    roles = {"is_prosumer": 0.0, "is_consumer": 0.0, "is_ev": 1.0, "is_storage": 0.0}
    cheaper = {f"retail_in_{h}h": 0.2 for h in (1, 2, 4, 8, 12)}
    told = {"flexible_kw": 11.0, "room_kwh": 5.0, "energy_kwh": 0.0, "retail": 0.4}
    told |= {"slots_to_departure": 20.0, "day_left": 0.9, "retail_low": 0.2, "feed_in": 0.08}
    told |= {"day_low": 0.08, "day_high": 0.4, "must_take": 0.0, "can_take": 1.0, "can_give": 0.0}
    return shown(seen[:, :1], **roles, **cheaper, **(told | values))


@pytest.mark.parametrize("name", ["mpc", "community_mpc"])
def test_mpc_cars_wait_for_a_cheaper_hour_only_while_there_is_time(seen, name):
    """In the prices they bid, and in the power where they dispatch themselves."""
    rules = RULES.model_copy(update={"dispatch": "own", "firming": "none"})
    bidder, own = make(name, GAME), make(name, game_of(rules))

    def buys(**values):
        told = car(seen, community_net=-1.0, last_must_run=-1.0, **values)
        bid, _ = limits(decided(bidder.act(told, None)[0], told))
        share = decided(own.act(told, None)[0], told, game_of(rules)).share[..., 0]
        from_grid = bid[..., 0] >= read(told, "retail") - 1e-6
        assert torch.equal(from_grid, share < -0.3)
        return from_grid.all()

    assert not buys()
    assert buys(slots_to_departure=2.0)
    assert buys(retail=0.1)
    assert buys(slots_to_departure=1.0, room_kwh=1.0)


def test_a_battery_is_priced_at_what_its_plan_says_more_energy_is_worth(seen):
    """Before the dear hours it buys at today's price, and sells only beyond it."""
    told = shown(
        car(seen, slots_to_departure=0.0, energy_kwh=2.0, room_kwh=2.0, can_give=1.0),
        is_ev=0.0,
        is_prosumer=1.0,
        forecast_pv=0.0,
        forecast_load=1.0,
        load_4h=1.0,
        load_left=24.0,
        pv_4h=0.0,
        pv_left=0.0,
        retail=0.3,
        retail_in_1h=0.4,
        retail_in_2h=0.4,
        retail_in_4h=0.2,
        retail_in_8h=0.2,
        retail_in_12h=0.2,
    )
    bid, ask = limits(decided(make("mpc", GAME).act(told, None)[0], told))
    # It holds less than the dear hours need: a kWh more is worth what it costs to buy it now.
    torch.testing.assert_close(bid, torch.full_like(bid, 0.3), rtol=0, atol=1e-6)
    torch.testing.assert_close(ask, torch.full_like(ask, 0.3 / 0.95**2 + 0.05), rtol=0, atol=1e-6)


def some_traders(seed=0, markets=3, seats=6):
    draw = torch.Generator().manual_seed(seed)
    limit = 0.1 + 0.2 * torch.rand(markets, seats, generator=draw, dtype=F64)
    low, high = torch.full_like(limit, 0.05), torch.full_like(limit, 0.4)
    return Traders(torch.rand(limit.shape, generator=draw) > 0.5, limit, limit, low, high)


def heard(*pairs):
    """Events [1, 1, H] of (kind, price), newest first: 1 trade, 2 rejected ask, 3 rejected bid."""
    kinds, prices = zip(*pairs, strict=True)
    return Events(torch.tensor([[prices]], dtype=F64), torch.tensor([[kinds]]))


def test_beliefs_are_the_papers_at_the_prices_that_were_heard():
    events = heard((1, 0.5), (2, 0.7), (3, 0.3), (2, 0.5))
    edge = torch.zeros(1, 1, dtype=F64)
    asked, offered = beliefs(events, edge, edge + 1, prices=11, memory_trades=5)
    # At 0.5: one trade at or above against one rejected ask at or below; at 0.3 a bid more.
    assert asked[0, 0, 5] == pytest.approx(1 / 2)
    assert asked[0, 0, 3] == pytest.approx(1)
    assert asked[0, 0, 7] == pytest.approx(0)
    # A bid at 0.5: trade and rejected ask at or below, no rejected bid at or above.
    assert offered[0, 0, 5] == pytest.approx(1)
    assert offered[0, 0, 3] == pytest.approx(0)
    # Half-way between two heard prices a cubic with level ends is half-way between the beliefs.
    assert asked[0, 0, 4] == pytest.approx(3 / 4)


def test_beliefs_fall_with_an_ask_and_rise_with_a_bid():
    draw = torch.Generator().manual_seed(3)
    price = torch.rand(20, 2, 12, generator=draw, dtype=F64)
    events = Events(price, torch.randint(0, 4, price.shape, generator=draw))
    edge = torch.zeros(20, 2, dtype=F64)
    asked, offered = beliefs(events, edge, edge + 1, prices=41, memory_trades=4)
    assert (asked.diff(dim=-1) <= 1e-12).all()
    assert (offered.diff(dim=-1) >= -1e-12).all()
    for belief in (asked, offered):
        assert ((belief >= 0) & (belief <= 1)).all()


def test_what_came_before_the_remembered_trades_is_forgotten():
    edge = torch.zeros(1, 1, dtype=F64)
    recent = heard((2, 0.8), (1, 0.5), (0, 0.0), (0, 0.0))
    longer = heard((2, 0.8), (1, 0.5), (2, 0.2), (1, 0.9))
    forgetful = beliefs(longer, edge, edge + 1, prices=11, memory_trades=1)
    for one, other in zip(beliefs(recent, edge, edge + 1, 11, 1), forgetful, strict=True):
        torch.testing.assert_close(one, other)


def aggressive(traders, theta, r):
    rule = make("adaptive_aggressive", GAME)._rule
    state = rule.begin(traders, Chance(torch.arange(len(traders.low)), 0))
    return replace(
        state,
        theta=torch.full_like(traders.low, theta),
        aggressiveness=torch.full_like(traders.low, r),
    )


@pytest.mark.parametrize("theta", [-8.0, -2.0, 0.0, 2.0])
def test_aggressiveness_spans_limit_and_market_end_about_the_equilibrium(theta):
    traders, equilibrium = some_traders(), torch.tensor([[0.12], [0.2], [0.28]], dtype=F64)
    sign = torch.where(traders.sells, -1, 1)
    targets = [
        _target(traders, aggressive(traders, theta, r), equilibrium)
        for r in (-1.0, -0.5, 0.0, 0.5, 1.0)
    ]
    torch.testing.assert_close(targets[0], traders.best)
    torch.testing.assert_close(targets[-1], traders.valuation)
    assert all(((b - a) * sign >= -1e-12).all() for a, b in pairwise(targets))
    inside = torch.where(
        traders.sells, traders.valuation < equilibrium, traders.valuation > equilibrium
    )
    at_zero = torch.where(inside, equilibrium.expand_as(traders.valuation), traders.valuation)
    torch.testing.assert_close(targets[2], at_zero)


@pytest.mark.parametrize("theta", [-8.0, -2.0, 1.0])
def test_the_target_bends_smoothly_from_patience_to_keenness(theta):
    traders, equilibrium = some_traders(), torch.full((3, 1), 0.2, dtype=F64)
    patient, even, keen = (
        _target(traders, aggressive(traders, theta, r), equilibrium) for r in (-1e-6, 0.0, 1e-6)
    )
    inside = torch.where(
        traders.sells, traders.valuation < equilibrium, traders.valuation > equilibrium
    )
    torch.testing.assert_close((even - patient)[inside], (keen - even)[inside], rtol=1e-3, atol=0)


@pytest.mark.parametrize("theta", [-8.0, -2.0, 2.0])
@pytest.mark.parametrize("r", [-0.7, -0.2, 0.3, 0.8])
def test_the_aggressiveness_of_a_price_is_the_one_that_names_it(theta, r):
    traders, equilibrium = some_traders(), torch.full((3, 1), 0.2, dtype=F64)
    state = aggressive(traders, theta, r)
    price = _target(traders, state, equilibrium)
    found = _aggressiveness_of(traders, state, equilibrium, price)
    inside = torch.where(
        traders.sells, traders.valuation < equilibrium, traders.valuation > equilibrium
    )
    known = inside | (r < 0)
    torch.testing.assert_close(found[known], torch.full_like(found[known], r), rtol=0, atol=1e-6)


def sale(price, traders, traded=True):
    """News of a trade, or of a round in which nobody found a partner."""
    yes = torch.ones_like(traders.sells)
    return News(
        price=torch.full_like(traders.low, price),
        traded=yes & traded,
        active=yes,
        ask_pressed=yes,
        bid_pressed=yes,
        rejected=~yes,
        rejected_price=traders.valuation,
        rejected_ask=traders.sells,
    )


@pytest.mark.parametrize("name", ["zip", "adaptive_aggressive"])
def test_learners_come_to_the_price_at_which_all_trade(name):
    one = torch.ones(2, 4, dtype=F64)
    sells = torch.tensor([True, False, True, False]).expand(2, -1)
    limit = torch.where(sells, 0.1, 0.35).to(F64)
    traders = Traders(sells, limit, limit, one * 0.05, one * 0.4)
    rule = make(name, GAME)._rule
    state = rule.begin(traders, Chance(torch.arange(2), 0))
    for _ in range(120):
        price, state = rule.quote(traders, state, None)
        state = rule.learn(traders, state, sale(0.22, traders))
    price, _ = rule.quote(traders, state, None)
    assert (price - 0.22).abs().max() < 0.03


def test_best_response_betters_the_last_price_where_that_pays():
    traders = some_traders()
    rule = make("best_response", GAME, {"undercut": 0.001})._rule
    state = rule.begin(traders, Chance(torch.arange(3), 0))
    torch.testing.assert_close(rule.quote(traders, state, None)[0], traders.valuation)
    state = rule.learn(traders, state, sale(0.2, traders))
    price, _ = rule.quote(traders, state, None)
    ask, bid = traders.valuation.clamp(min=0.199), traders.valuation.clamp(max=0.201)
    torch.testing.assert_close(price, torch.where(traders.sells, ask, bid))


def test_a_fixed_margin_is_the_same_share_on_both_sides():
    traders = some_traders()
    rule = make("fixed_margin", GAME, {"margin": 0.1})._rule
    price, _ = rule.quote(traders, None, None)
    share = torch.where(traders.sells, 1.1, 0.9).to(F64)
    torch.testing.assert_close(price, (traders.valuation * share).clamp(0.05, 0.4))


def test_an_open_book_trades_at_the_standing_quote_and_is_cleared(bench):
    like = torch.zeros(1, 1)
    book = bench.Book.empty(like)

    def say(book, trader, sells, price):
        words = torch.tensor([[trader]]), torch.tensor([[sells]]), torch.tensor([[price]])
        return bench.shout(book, *words)

    _, book = say(book, 3, False, 1.5)
    _, book = say(book, 0, True, 1.9)
    worse, book = say(book, 1, True, 1.95)
    assert not worse.heard
    better, book = say(book, 1, True, 1.8)
    assert better.displaced
    assert better.displaced_price.item() == pytest.approx(1.9)
    trade, book = say(book, 2, True, 1.2)
    assert trade.traded
    assert (trade.seller.item(), trade.buyer.item()) == (2, 3)
    assert trade.price.item() == pytest.approx(1.5)
    assert book.bidder.item() == book.asker.item() == -1


def test_in_an_open_book_zero_intelligence_trades_well_and_zip_finds_the_price(bench):
    torch.manual_seed(0)
    found = {
        name: bench.measure(name, "symmetric", markets=10, days=5, shouts=250, seed=1)
        for name in ("zero_intelligence_unconstrained", "zero_intelligence", "zip")
    }
    unconstrained, constrained, zips = found.values()
    assert constrained.efficiency > 0.9
    assert unconstrained.efficiency < 0.5
    assert zips.last_efficiency > 0.97
    assert zips.last_alpha < 0.05 < constrained.last_alpha


@pytest.mark.parametrize(
    ("name", "markets", "shouts"),
    [("gjerstad_dickhaut", 10, 400), ("adaptive_aggressive", 40, 900)],
)
def test_later_strategies_trade_more_of_the_surplus_than_zip(bench, name, markets, shouts):
    found, zips = (
        bench.measure(rule, "few outside", markets=markets, days=2, shouts=shouts, seed=1)
        for rule in (name, "zip")
    )
    assert found.efficiency > zips.efficiency + found.efficiency_error


@pytest.mark.parametrize(("curves", "error"), [("excess demand", -0.3), ("excess supply", 0.3)])
def test_constrained_zero_intelligence_misses_a_price_at_the_edge(bench, curves, error):
    row = bench.measure("zero_intelligence", curves, markets=10, days=2, shouts=150, seed=1)
    assert (row.last_price - row.equilibrium) / error > 1
    learned = bench.measure("gjerstad_dickhaut", curves, markets=5, days=3, shouts=150, seed=1)
    assert abs(learned.last_price - learned.equilibrium) < 0.1
