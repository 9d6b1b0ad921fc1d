"""Laws of every registered bidder on the observations of played days, and each one's own rule."""

from __future__ import annotations

import pytest
import torch
from conftest import game_of, play
from hypothesis import given, settings
from hypothesis import strategies as st

from gridbazaar import envs
from gridbazaar.agents.bidders import BIDDERS, make
from gridbazaar.agents.bidders.auction_bidder import truthful_positions
from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.own_use import own_use_action
from gridbazaar.agents.bidders.positions import laid
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.agents.bidders.valuation import Limits, limits_of
from gridbazaar.envs.day_record import Facts
from gridbazaar.envs.observation import FEATURES, read
from gridbazaar.envs.supply_curve import Offer, supply_curve
from gridbazaar.evaluation.information import mutual_information

every_bidder = pytest.mark.parametrize("name", BIDDERS.names())
PRICING = [
    "zero_intelligence",
    "zip",
    "gjerstad_dickhaut",
    "adaptive_aggressive",
    "fixed_margin",
    "best_response",
]
RULES = envs.world().task.rules
GAME = game_of(RULES)


def bidding(name, game=GAME):
    """A policy that keeps the bidder's state, fresh for a day."""
    bidder, state = make(name, game), None

    def act(observation):
        nonlocal state
        action, state = bidder.act(observation, state)
        return action

    return act


def decided(action, observation, game=GAME):
    """Return the decision that an action means, as the simulation takes it."""
    low, high = (read(observation, name)[:, :1] for name in ("day_low", "day_high"))
    return game.meaning(low, high).decide(action)


def named(decision, game=GAME):
    """Return the limits at which devices take and give, as the simulation has them."""
    value, margin = decision.value, decision.margin
    return Limits(
        value * game.efficiency - margin, value / game.efficiency + game.wear_price + margin
    )


def watched(sim):
    """Observations [96][B, N, size] of a day that the truthful bidder played."""
    observations, act = [], bidding("truthful", sim.game)

    def watch(observation):
        observations.append(observation)
        return act(observation)

    for _ in play(sim, watch):
        pass
    return observations


@pytest.fixture(scope="module")
def seen(town):
    return watched(town.simulation(num_envs=3))


@pytest.fixture(scope="module", params=["german_tou_all_year", "ce_sdt_nsw"])
def lent(town, request):
    """A game in which cars feed back, and observations of it."""
    sim = town.simulation(f"tariff@task.tariff={request.param}", "task.devices.vehicle.v2g=true")
    return sim.game, watched(sim)


def replay(name, observations, game=GAME):
    act = bidding(name, game)
    return [act(observation) for observation in observations]


@every_bidder
def test_actions_are_numbers_within_bounds(name, seen):
    for observation, action in zip(seen, replay(name, seen), strict=True):
        assert action.shape == (*observation.shape[:2], 6)
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


def test_the_sign_of_a_zero_draws_nothing_else():
    observation = torch.rand(3, 4, 5)
    observation[:, 1:3, 2] = 0.0
    other = observation.clone()
    other[1:, 1:3, 2] = -0.0
    assert torch.equal(Chance.of(observation, 7).seed, Chance.of(other, 7).seed)


@every_bidder
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_observations_are_left_as_they_were(name, seen, dtype):
    observation = seen[40].to(dtype)
    before = observation.clone()
    bidding(name)(observation)
    assert torch.equal(before, observation)


OWN = ("task.rules.dispatch=own", "task.rules.firming=none")


@every_bidder
def test_devices_that_seats_dispatch_run_as_their_share_says(town, name):
    sim = town.simulation(*OWN)
    act, taken, given = bidding(name, sim.game), 0.0, 0.0

    def watched(observation):
        nonlocal asked
        seat, action = Seat(observation, sim.game.layout), act(observation)
        share = decided(action, observation, sim.game).share
        power = seat.must_kw + seat.give_kw * share.clamp(min=0) + seat.take_kw * share.clamp(max=0)
        asked = power.sum((1, 2))
        return action

    asked = None
    for interval in play(sim, watched):
        power = torch.cat(list(interval.device_kw.values()), -1)
        torch.testing.assert_close(power.sum(-1), asked, rtol=0, atol=1e-6)
        taken, given = (
            taken + float(power.clamp(max=0).sum()),
            given + float(power.clamp(min=0).sum()),
        )
    assert taken < 0 < given


def loss_of(decision, observation, game=GAME):
    """Return by how much prices lose money [B, P], of what can be traded."""
    seat = Seat(observation, game.layout)
    worth, limits = truthful_positions(seat, game).valuation.must_run, named(decision, game)
    own = truthful_positions(seat, game).valuation.devices
    sells = seat.must_run_kw > 0
    must_run = torch.where(sells, 1, -1) * (worth - decision.must_run_price)
    tradable = laid(seat.must_run_kw, seat.take_kw, seat.give_kw).abs() > 1e-6
    return laid(must_run, limits.bid - own.bid, own.ask - limits.ask) * tradable


def losses(name, game, observations):
    """Return what a bidder's prices lose against what energy is worth, [96, B, P]."""
    actions = replay(name, observations, game)
    pairs = zip(actions, observations, strict=True)
    return torch.stack([loss_of(decided(a, o, game), o, game) for a, o in pairs])


@pytest.mark.parametrize("name", PRICING)
def test_no_price_loses_money_against_what_energy_is_worth(lent, name):
    loss = losses(name, *lent)
    assert loss.max() < 1e-6
    assert loss.min() < -0.01


def test_the_truthful_never_bids_away_from_what_energy_is_worth(lent):
    assert losses("truthful", *lent).abs().max() < 1e-6


def test_unconstrained_zero_intelligence_is_not_held_by_its_worth(lent):
    assert losses("zero_intelligence_unconstrained", *lent).max() > 0.05


@pytest.mark.parametrize("name", PRICING)
def test_no_margin_is_asked_of_the_seat_itself(lent, name):
    """What a home's own battery stores and covers is what it would at true valuations."""
    game, observations = lent

    def own_use(name):
        for observation, action in zip(observations, replay(name, observations, game), strict=True):
            seat, decision = Seat(observation, game.layout), decided(action, observation, game)
            own = limits_of(decision.value, game)
            offer = Offer(seat.take_kw, seat.give_kw, *own, decision.margin)
            yield supply_curve(seat.must_run_kw, decision.must_run_price, offer).own_kw

    own, true = torch.stack(list(own_use(name))), torch.stack(list(own_use("truthful")))
    torch.testing.assert_close(own, true, rtol=0, atol=1e-6)
    assert min(own.max(), -own.min()) > 0.1


def cost_of(simulation, name):
    """Return the community's cost [B] EUR of a day, played to its end."""
    *before, last = play(simulation, bidding(name, simulation.game))
    assert last.done
    return -torch.stack([i.reward.total.sum(-1) for i in (*before, last)]).sum(0)


def test_all_but_the_unconstrained_cost_less_than_the_grid_alone(town):
    alone = cost_of(town.simulation(market="grid_only"), "stand_alone")
    for name in BIDDERS.names():
        cost = cost_of(town.simulation(), name)
        assert cost.isfinite().all()
        if name != "zero_intelligence_unconstrained":
            assert (cost < alone).all(), name


def test_what_stands_alone_trades_no_flexibility(town):
    """Its devices do the same whether a market is there or not."""

    def powers(market):
        sim = town.simulation("task.rules.firming=none", market=market)
        for interval in play(sim, bidding("stand_alone", sim.game), slots=60):
            yield torch.cat(list(interval.device_kw.values()), -1)

    alone, among = powers("grid_only"), powers("uniform_auction")
    for one, other in zip(alone, among, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["truthful", "community_mpc"])
def test_cars_feed_back_what_drivers_lend(town, name):
    """Under a wide spread, and no more than lets every car leave full."""
    lent = ("tariff@task.tariff=ce_sdt_nsw", "task.devices.vehicle.v2g=true")
    sim = town.simulation(*lent)
    fed = missed = 0.0
    for interval in play(sim, bidding(name, sim.game)):
        fed += float(interval.device_kw["vehicle"].clamp(min=0).sum())
        missed += float(interval.unserved_kwh.sum())
    assert fed > 0
    assert missed == pytest.approx(0, abs=1e-6)


def test_zero_intelligence_uses_the_whole_range(seen):
    seat = Seat(seen[50], GAME.layout)
    worth = truthful_positions(seat, GAME)
    traders, act = worth.traders(), bidding("zero_intelligence")
    price = torch.stack([decided(act(seen[50]), seen[50]).must_run_price for _ in range(300)])
    N = price.shape[-1]
    buys = ~traders.sells[:, :N] & (seat.must_run_kw < -0.01) & ~(seat.give_kw > 0)[..., 0]
    charge = seat.local_charge
    way = (price - charge - seat.floor) / (seat.ceiling - seat.floor)
    assert way[:, buys].min() < 0.05
    assert way[:, buys].max() > 0.95


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
def home(seen, net_kw, **values):
    told = {"is_prosumer": 1.0, "is_ev": 0.0, "is_storage": 0.0, "slots_to_departure": 0.0}
    told |= {"forecast_pv": max(net_kw, 0.0), "forecast_load": max(-net_kw, 0.0)}
    told |= {"flexible_kw": 0.0, "must_take": 0.0, "can_take": 0.0, "can_give": 0.0}
    told |= {"feed_in": 0.08, "retail": 0.38, "local_charge": 0.04}
    told |= {"day_low": 0.08, "day_high": 0.38, "retail_low": 0.38, "included": 1.0}
    return shown(seen[0][:, :1], **(told | values))


@pytest.mark.parametrize("net_kw", [3.0, -3.0])
@pytest.mark.parametrize("market_price", [0.12, 0.2, 0.3])
def test_zip_moves_towards_the_market_price(seen, net_kw, market_price):
    """The market's price: what a buyer names at its own meter is more by the local charge."""
    bidder, observation = make("zip", GAME), home(seen, net_kw)
    sells = net_kw > 0

    def market(action):
        return decided(action, observation).must_run_price - (0.0 if sells else 0.04)

    action, state = bidder.act(observation, None)
    start = market(action)
    for _ in range(60):
        asked = market(action)
        accepted = asked <= market_price if sells else asked >= market_price
        told = shown(observation, last_price=market_price, last_volume=1.0, filled=0.0)
        told[..., [f.name for f in FEATURES].index("filled")] = accepted.to(told)
        action, state = bidder.act(told, state)
        price = market(action)
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
        assert (decided(action, told).must_run_price >= 0.08 - 1e-9).all()
    assert (decided(action, told).must_run_price < 0.09).all()


def test_a_position_without_an_order_hears_nothing_of_itself(seen):
    """A device that cannot give is not passed over, and one that can is."""
    home_kw = {"flexible_kw": 4.0, "can_give": 1.0, "is_storage": 1.0, "is_prosumer": 0.0}
    told = {"last_price": 0.1, "last_volume": 1.0, "give_filled": 0.0}

    def ask_after(rounds, **values):
        observation = home(seen, 0.0, **(home_kw | told | values))
        bidder, state = make("zip", GAME, {"margin": [0.3, 0.3]}), None
        for _ in range(rounds):
            action, state = bidder.act(observation, state)
        return named(decided(action, observation)).ask

    assert (ask_after(20) < ask_after(1) - 0.01).all()
    torch.testing.assert_close(ask_after(20, can_give=0.0), ask_after(1, can_give=0.0))
    late = {"included": 0.0}  # says nothing of the price
    torch.testing.assert_close(ask_after(20, **late), ask_after(1, **late))


def test_cars_wait_for_a_cheaper_hour_only_while_there_is_time(seen):
    outlook = {f"retail_in_{h}h": 0.2 for h in (1, 2, 4, 8, 12)}
    car = shown(
        seen[0][:, :1],
        is_prosumer=0.0,
        is_consumer=0.0,
        is_ev=1.0,
        is_storage=0.0,
        flexible_kw=11.0,
        can_take=1.0,
        room_kwh=5.0,
        forecast_pv=0.0,
        forecast_load=0.0,
        slots_to_departure=20.0,
        urgency=0.2,
        day_low=0.08,
        day_high=0.4,
        **outlook,
    )
    bidder = make("tariff_rule", GAME)

    def buys_from_the_grid(**values):
        told = shown(car, **values)
        bid = named(decided(bidder.act(told, None)[0], told)).bid[..., 0]
        return (bid >= read(told, "retail")).all()

    assert not buys_from_the_grid()
    assert buys_from_the_grid(urgency=0.95)
    assert buys_from_the_grid(slots_to_departure=3.0)
    assert buys_from_the_grid(retail=0.1)


@settings(deadline=None, max_examples=50)
@given(
    value=st.floats(0, 0.4),
    below=st.floats(0, 0.3),
    beyond=st.floats(0, 0.3),
    efficiency=st.floats(0.5, 1),
    wear_price=st.floats(0, 0.1),
)
def test_value_and_margin_mean_any_pair_of_limits(value, below, beyond, efficiency, wear_price):
    device = [torch.tensor([[each]], dtype=torch.float64) for each in (efficiency, wear_price)]
    game = game_of(RULES)
    game = type(game)(RULES, 0.25, game.layout, *device, game.largest_kw)
    own = limits_of(torch.tensor([[[value]]], dtype=torch.float64), game)
    limits = Limits(own.bid - below, own.ask + beyond)
    meant, margin = limits.value(game)
    assert (margin >= 0).all()
    torch.testing.assert_close(meant * device[0] - margin, limits.bid, rtol=0, atol=1e-12)
    asked = meant / device[0] + device[1] + margin
    torch.testing.assert_close(asked, limits.ask, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kept", [True, False])
def test_actions_mean_the_prices_that_were_named(seen, kept):
    """What is within the day's prices is neither cut nor rounded; a crossing pair meets halfway."""
    observation = torch.cat(seen[::4])
    positions = truthful_positions(Seat(observation, GAME.layout), GAME)
    traders = positions.traders()
    draw = torch.rand(traders.low.shape, generator=torch.Generator().manual_seed(1))
    wanted = traders.low + draw.to(traders.low) * (traders.high - traders.low)
    prices = positions.prices(traders.keep_valuation(wanted) if kept else wanted)
    found = decided(positions.action(prices), observation)
    limits, seat = named(found), Seat(observation, GAME.layout)
    torch.testing.assert_close(found.must_run_price, prices.must_run, rtol=0, atol=1e-9)
    efficiency, wear = GAME.efficiency, GAME.wear_price
    crossing = prices.devices.bid > (prices.devices.ask - wear) * efficiency**2
    owned = (seat.rated_kw > 0) & ~crossing
    serves, own = prices.stores | prices.covers, limits_of(found.value, GAME)
    apart = owned & ~serves
    assert (owned & serves).any()
    assert apart.any() or not kept
    torch.testing.assert_close(limits.bid[apart], prices.devices.bid[apart], rtol=0, atol=1e-7)
    torch.testing.assert_close(limits.ask[apart], prices.devices.ask[apart], rtol=0, atol=1e-7)
    # What serves its own seat is valued by that side, and asks its margin of neighbours.
    stores, covers = owned & prices.stores, owned & prices.covers
    torch.testing.assert_close(own.bid[stores], prices.devices.bid[stores], rtol=0, atol=1e-7)
    torch.testing.assert_close(own.ask[covers], prices.devices.ask[covers], rtol=0, atol=1e-7)
    assert (limits.ask >= prices.devices.ask - 1e-7)[stores & ~crossing].all()
    assert (limits.bid <= prices.devices.bid + 1e-7)[covers & ~crossing].all()


def test_own_use_needs_nothing_but_the_layout(seen):
    """A home's battery offers what own use asks, at a price at which it is not for sale."""
    told = {"flexible_kw": 4.0, "can_take": 0.75, "can_give": 0.5, "energy_kwh": 1.0}
    sunny, dark = home(seen, 1.5, **told), home(seen, -1.0, **told)
    price, _, value, margin, share, tip = own_use_action(sunny).unbind(-1)
    assert (price + 1).abs().max() < 1e-6
    for entry, meant in ((value, 1.0), (margin, -1.0), (share, 0.0), (tip, -1.0)):
        torch.testing.assert_close(entry, torch.full_like(entry, meant))
    price, _, value, _, share, _ = own_use_action(dark).unbind(-1)
    for entry, meant in ((price, 1.0), (value, -1.0), (share, 0.0)):
        torch.testing.assert_close(entry, torch.full_like(entry, meant))
    assert own_use_action(dark, own_dispatch=True)[..., 4].allclose(torch.tensor(0.5).double())
    assert own_use_action(sunny, own_dispatch=True)[..., 4].allclose(torch.tensor(-0.5).double())


def test_parameters_are_validated_by_name():
    with pytest.raises(ValueError, match=r"bidder.zip.*learning_rate"):
        make("zip", GAME, {"learning_rate": [0.1, 2.0]})
    with pytest.raises(ValueError, match="did you mean 'momentum'"):
        make("zip", GAME, {"momentun": [0.1, 0.2]})


def test_a_masked_meter_tells_less_of_the_load_and_costs_more(town):
    """The mask against own use and against no battery, by mutual information over days."""

    def played(name):
        sim = town.simulation(num_envs=6)
        homes = Facts.of(sim.community, 0.0).battery_kwh > 0
        homes &= (sim.community.load_kw.amax(0) > 0).cpu()
        intervals = list(play(sim, bidding(name, sim.game)))
        load, meter = (
            torch.stack(series).permute(2, 1, 0).flatten(1)[homes]
            for series in zip(*((i.load_kw, i.delivered.net_kw) for i in intervals), strict=True)
        )
        pv = torch.stack([i.delivered.pv_kw for i in intervals]).permute(2, 1, 0).flatten(1)[homes]
        cost = -torch.stack([i.reward.total[:, homes] for i in intervals]).sum()
        told, bare = mutual_information(load, meter), mutual_information(load, load - pv)
        return float(told.mean()), float(bare.mean()), float(cost)

    own, bare, cheap = played("own_use")
    masked, _, dear = played("load_masking")
    assert masked < 0.7 * own < own < bare
    assert dear > cheap


def test_a_mask_holds_the_meter_at_the_mean_where_the_battery_can(seen):
    """At half its content the battery makes up for all of a change but what the mean follows."""
    told = {"flexible_kw": 4.0, "can_take": 1.0, "can_give": 1.0, "room_kwh": 3.0}
    mask = make("load_masking", GAME)
    follows = GAME.slot_h / 12.0
    _, mean = mask.act(home(seen, -1.0, energy_kwh=3.0, **told), None)
    for net, content, wanted in (
        (-3.0, 3.0, 2.0 * (1 - follows)),  # a kettle, that is, covered
        (0.5, 3.0, -1.5 * (1 - follows)),
        (-1.0, 9.0, 3.0 / 6.0),  # too full: given back over the hours of recovery
        (-9.0, 3.0, 4.0),  # no more than it can
    ):
        action, _ = mask.act(home(seen, net, energy_kwh=content, **told), mean)
        _, _, value, _, share, _ = action.unbind(-1)
        power = -value.sign() * (share + 1) / 2 * 4.0
        torch.testing.assert_close(power, torch.full_like(power, wanted), rtol=0, atol=1e-5)
