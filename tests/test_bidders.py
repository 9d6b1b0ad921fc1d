"""Laws of every registered bidder on the observations of played days, and each one's own rule."""

from __future__ import annotations

import pytest
import torch
from conftest import game_of, play
from hypothesis import given, settings
from hypothesis import strategies as st

from gridbazaar import envs
from gridbazaar.agents.bidders import BIDDERS, make
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.envs.action import decide, encode
from gridbazaar.envs.markets import Context
from gridbazaar.envs.observation import FEATURES, read

every_bidder = pytest.mark.parametrize("name", BIDDERS.names())
every_tariff = pytest.mark.parametrize("tariff", ["german_tou_all_year", "ce_sdt_nsw"])
RULES = envs.world().task.rules
GAME = game_of(RULES)


def bidding(name):
    """A policy that keeps the bidder's state, fresh for a day."""
    bidder, state = make(name, GAME), None

    def act(observation):
        nonlocal state
        action, state = bidder.act(observation, state)
        return action

    return act


def decided(action, observation):
    """Return limit price and power of an action, as the simulation takes them."""
    context = Context(
        buyer_ceiling=read(observation, "retail") - read(observation, "local_charge"),
        seller_floor=read(observation, "feed_in"),
        slot_h=0.25,
    )
    out = decide(action, context, read(observation, "flexible_kw").unsqueeze(-1), RULES)
    return out.limit_price, out.requested_kw[..., 0]


@pytest.fixture(scope="module")
def seen(town):
    """Observations [96][3, N, SIZE] of a day that the truthful bidder played."""
    sim = town.simulation(num_envs=3)
    observations, act = [], bidding("truthful")

    def watch(observation):
        observations.append(observation)
        return act(observation)

    for _ in play(sim, watch):
        pass
    return observations


def replay(name, observations):
    act = bidding(name)
    return [act(observation) for observation in observations]


@every_bidder
def test_actions_are_numbers_within_bounds(name, seen):
    for observation, action in zip(seen, replay(name, seen), strict=True):
        assert action.shape == (*observation.shape[:2], 3)
        assert action.dtype is observation.dtype
        assert action.isfinite().all()
        assert (action.abs() <= 1).all()


@every_bidder
def test_the_same_day_gets_the_same_actions(name, seen):
    for first, second in zip(replay(name, seen), replay(name, seen), strict=True):
        assert torch.equal(first, second)


@every_bidder
def test_no_market_hears_of_its_neighbours_in_the_batch(name, seen):
    together = replay(name, seen)
    for b in (0, 2):
        alone = replay(name, [observation[b : b + 1] for observation in seen])
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[b : b + 1], part, rtol=0, atol=1e-9)


@every_bidder
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_observations_are_left_as_they_were(name, seen, dtype):
    observation = seen[40].to(dtype)
    before = observation.clone()
    bidding(name)(observation)
    assert torch.equal(before, observation)


@every_bidder
@every_tariff
def test_a_day_is_played_to_its_end(town, name, tariff):
    sim = town.simulation(f"tariff@task.tariff={tariff}")
    *_, last = play(sim, bidding(name))
    assert last.done


def worth_of(observation, action):
    """Return what the energy offered is worth to each seat, whether it sells, and its price."""
    seat = Seat(observation, GAME)
    price, power = decided(action, observation)
    return seat.limit(power.unsqueeze(-1)), seat.net_kw + power, price


@pytest.mark.parametrize("name", ["truthful", "zero_intelligence", "zip"])
@every_tariff
def test_no_price_loses_money_against_the_seats_worth(town, name, tariff):
    sim = town.simulation(f"tariff@task.tariff={tariff}")
    act, traded = bidding(name), 0

    def checked(observation):
        nonlocal traded
        action = act(observation)
        worth, offered, price = worth_of(observation, action)
        loss = (worth - price) * offered.sign()
        assert loss[offered.abs() > 1e-6].max() < 1e-9
        traded += int((offered != 0).sum())
        return action

    for _ in play(sim, checked):
        pass
    assert traded > 0


@every_tariff
def test_the_truthful_never_bids_away_from_its_worth(town, tariff):
    act = bidding("truthful")

    def checked(observation):
        action = act(observation)
        worth, offered, price = worth_of(observation, action)
        away = (worth - price).abs()[offered.abs() > 1e-6]
        assert away.max() < 1e-9
        return action

    for _ in play(town.simulation(f"tariff@task.tariff={tariff}"), checked):
        pass


def test_zero_intelligence_uses_the_whole_range(seen):
    prices = torch.cat([a[..., 0].flatten() for a in replay("zero_intelligence", seen)])
    assert prices.min() < -0.95
    assert prices.max() > 0.95


def test_zero_intelligence_draws_anew_for_another_seed(seen):
    one, two = (make("zero_intelligence", GAME, {"seed": s}).act(seen[0], None)[0] for s in (0, 1))
    assert not torch.equal(one[..., 0], two[..., 0])


def shown(observation, **values):
    """Return the observation with features, in physical units, replaced for all seats."""
    changed = observation.clone()
    for i, feature in enumerate(FEATURES):
        if feature.name in values:
            changed[..., i] = values[feature.name] * feature.scale
    return changed


# A home that sells 3 kW without storage, where the grid pays 0.08 and a local kWh is worth 0.34.
def home(seen, net_kw):
    return shown(
        seen[0][:, :1],
        is_prosumer=1.0,
        is_ev=0.0,
        is_storage=0.0,
        forecast_pv=max(net_kw, 0.0),
        forecast_load=max(-net_kw, 0.0),
        flexible_kw=0.0,
        feed_in=0.08,
        retail=0.38,
        local_charge=0.04,
    )


@pytest.mark.parametrize("net_kw", [3.0, -3.0])
@pytest.mark.parametrize("market_price", [0.12, 0.2, 0.3])
def test_zip_moves_towards_the_market_price(seen, net_kw, market_price):
    bidder, observation = make("zip", GAME), home(seen, net_kw)
    action, state = bidder.act(observation, None)
    sells = net_kw > 0
    start, _ = decided(action, observation)
    for _ in range(60):
        asked, _ = decided(action, observation)
        accepted = asked <= market_price if sells else asked >= market_price
        told = shown(observation, last_price=market_price, last_volume=1.0, filled=0.0)
        told[..., [f.name for f in FEATURES].index("filled")] = accepted.to(told)
        action, state = bidder.act(told, state)
        price, _ = decided(action, told)
        assert (price >= 0.08 - 1e-9).all()
        assert (price <= 0.34 + 1e-9).all()
    assert ((price - market_price).abs() < 0.06).all()
    far = (start - market_price).abs() > 0.06
    assert ((price - market_price).abs() <= (start - market_price).abs())[far].all()


def test_a_zip_seller_never_asks_below_its_floor(seen):
    bidder, observation = make("zip", GAME), home(seen, 3.0)
    state = None
    for _ in range(50):
        told = shown(observation, last_price=0.01, last_volume=1.0, filled=0.0)
        action, state = bidder.act(told, state)
        assert (decided(action, told)[0] >= 0.08 - 1e-9).all()
    assert (decided(action, told)[0] < 0.09).all()


def test_cars_wait_for_a_cheaper_hour_only_while_there_is_time(seen):
    outlook = {f"retail_in_{h}h": 0.2 for h in (1, 2, 4, 8, 12)}
    car = shown(
        seen[0][:, :1],
        is_prosumer=0.0,
        is_consumer=0.0,
        is_ev=1.0,
        is_storage=0.0,
        flexible_kw=11.0,
        room_kwh=5.0,
        forecast_pv=0.0,
        forecast_load=0.0,
        slots_to_departure=20.0,
        urgency=0.2,
        **outlook,
    )
    bidder = make("tariff_rule", GAME)
    assert (bidder.act(car, None)[0][..., 1] == 0).all()
    assert (bidder.act(shown(car, urgency=0.95), None)[0][..., 1] < 0).all()
    assert (bidder.act(shown(car, slots_to_departure=3.0), None)[0][..., 1] < 0).all()
    assert (bidder.act(shown(car, retail=0.1), None)[0][..., 1] < 0).all()


@settings(deadline=None, max_examples=50)
@given(
    action=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    margin=st.floats(0, 1),
    rated=st.floats(0.1, 50),
)
def test_encode_and_decide_are_inverse(action, margin, rated):
    rules = RULES.model_copy(update={"price_margin": margin})
    f64 = torch.float64
    context = Context(torch.tensor([[0.34]], dtype=f64), torch.tensor([[0.08]], dtype=f64), 0.25)
    given_action, power = torch.tensor([[action]], dtype=f64), torch.tensor([[rated]], dtype=f64)
    meant = decide(given_action, context, power, rules)
    again = encode(meant.limit_price, meant.requested_kw, meant.tip, context, power, rules)
    torch.testing.assert_close(again, given_action, rtol=0, atol=1e-9)
    low, high = 0.08, 0.34
    reach = (high - low) * margin / 2
    assert low - reach - 1e-12 <= meant.limit_price.item() <= high + reach + 1e-12


def test_what_is_out_of_reach_becomes_the_nearest_within_it():
    context = Context(torch.tensor([[0.34]]), torch.tensor([[0.08]]), 0.25)
    far = torch.tensor([[9.0]])
    action = encode(far, -far[..., None], far, context, torch.tensor([[2.0]]), RULES)
    assert action.tolist() == [[[1, -1, 1]]]
    none = encode(far * 0.02, far[..., None] * 0, far * 0, context, torch.tensor([[0.0]]), RULES)
    assert none.isfinite().all()
    beyond = decide(torch.tensor([[[5.0, -5.0, 5.0]]]), context, torch.tensor([[2.0]]), RULES)
    assert beyond.limit_price.item() == pytest.approx(0.34)
    assert beyond.requested_kw.item() == -2
    assert beyond.tip.item() == pytest.approx(RULES.max_tip)


def test_parameters_are_validated_by_name():
    with pytest.raises(ValueError, match=r"bidder.zip.*learning_rate"):
        make("zip", GAME, {"learning_rate": [0.1, 2.0]})
    with pytest.raises(ValueError, match="did you mean 'momentum'"):
        make("zip", GAME, {"momentun": [0.1, 0.2]})
