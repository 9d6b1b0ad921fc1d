"""A seat sees what it could know, in physical units by name, and nothing of the slot bid for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SLOTS, play, random_policy

from gridbazaar import envs, ledger_sim
from gridbazaar.envs.data.sessions import Sessions
from gridbazaar.envs.observation import FEATURES, SIZE, read
from gridbazaar.errors import UnknownNameError

DAY = 5 * SLOTS
TABLES = ("need_kwh", "session_kwh", "slots_left")


def changed_from(series, slot):
    """Return the series with all that is metered in `slot` and later turned about."""
    s = series.sessions
    before = s.arrival < slot
    fewer = Sessions(
        s.charger_names,
        s.charger_bus,
        s.max_power_kw,
        s.charger[before],
        s.arrival[before],
        s.departure[before],
        s.energy_kwh[before],
        s.slot_minutes,
    )
    new = {}
    for name in ("load_kw", "load_kvar", "pv_per_kwp", "background_p_kw", "background_q_kvar"):
        values = np.array(getattr(series, name))
        # The annual use, by which roofs are sized, and the largest load and generation, which are
        # ratings, stay: the rest of the month runs backwards.
        values[slot:] = values[slot:][::-1]
        new[name] = values
    new["pv_per_kwp"][slot:] *= 0.37
    new["pv_per_kwp"][-1] = series.pv_per_kwp.max(0)
    return replace(series, sessions=fewer, **new)


@pytest.mark.parametrize(
    ("ledger", "t"),
    [
        ("ideal", 1),
        ("ideal", 52),
        ("ideal", 77),
        *((name, 37) for name in ledger_sim.LEDGERS.names()),
    ],
)
def test_nothing_metered_in_the_slot_bid_for_is_seen(town, ledger, t):
    world = envs.world(ledger=ledger)
    known = town.build(world)
    other = town.build(world, changed_from(town.series, DAY + t))
    a, b = known.community, other.community
    tables = {name: (getattr(a, name), getattr(b, name)) for name in ("own", "public")}
    tables |= {f: (getattr(a.prices, f), getattr(b.prices, f)) for f in a.prices._fields}
    cars, others = (c.fleet.kinds["vehicle"] for c in (a, b))
    tables |= {name: (getattr(cars, name), getattr(others, name)) for name in TABLES}
    for name, (first, second) in tables.items():
        assert torch.equal(first[: DAY + t + 1], second[: DAY + t + 1]), name
    for rating in a.layout.ratings:
        assert torch.equal(a.fleet.rating(rating.name), b.fleet.rating(rating.name)), rating
    assert torch.equal(a.pv_kwp, b.pv_kwp)
    assert not torch.equal(a.load_kw[DAY + t], b.load_kw[DAY + t])

    days, act = torch.tensor([DAY, DAY]), random_policy(t)
    seen, hidden = known.reset(days, 1), other.reset(days, 1)
    for slot in range(t + 1):
        assert torch.equal(seen, hidden), (slot, differing(seen, hidden))
        action = act(seen)
        seen, hidden = known.step(action).observation, other.step(action).observation
    assert not torch.equal(seen, hidden)


def differing(a, b):
    return [
        feature.name for i, feature in enumerate(FEATURES) if not torch.equal(a[..., i], b[..., i])
    ]


def test_a_car_is_seen_from_the_slot_after_its_arrival(town):
    c, sessions = town.simulation().fleet.kinds["vehicle"], town.series.sessions
    followed = 0
    for charger, arrival, departure in zip(
        sessions.charger, sessions.arrival, sessions.departure, strict=True
    ):
        assert c.need_kwh[arrival, charger] == 0
        assert c.session_kwh[arrival, charger] == 0
        if departure - arrival > 1:
            assert c.need_kwh[arrival + 1, charger] > 0
            assert c.slots_left[arrival + 1, charger] == departure - arrival - 1
            assert c.slots_left[departure - 1, charger] == 1
            followed += 1
    assert followed > 10


@pytest.mark.parametrize(
    ("ledger", "dtype"),
    [("ideal", torch.float64), *((name, torch.float32) for name in ledger_sim.LEDGERS.names())],
)
def test_observations_are_finite_and_of_moderate_size_all_day(town, ledger, dtype):
    sim = town.simulation(ledger=ledger, dtype=dtype)
    for interval in play(sim):
        assert interval.observation.shape == (2, sim.num_seats, SIZE)
        assert interval.observation.dtype is dtype
        assert interval.observation.isfinite().all()
        assert interval.observation.abs().max() < 50


def test_features_are_read_in_physical_units(town):
    sim = town.simulation(ledger="block")
    c, policy = sim.community, random_policy(0)
    observation, h = sim.reset(seed=2), 0.25
    for t in range(60):
        row = sim.first_slot + t
        torch.testing.assert_close(read(observation, "forecast_load"), c.load_kw[row - 1])
        torch.testing.assert_close(read(observation, "forecast_pv"), c.pv_kw[row - 1])
        for name in ("retail", "feed_in", "local_charge"):
            price = getattr(c.prices, name)[row][:, None].expand(-1, sim.num_seats)
            torch.testing.assert_close(read(observation, name), price)
        for kind, device in c.fleet.kinds.items():
            state = sim.devices[kind]
            stored = state.energy_kwh - device.floor * state.capacity_kwh
            shown = read(observation, "energy_kwh")[:, device.seat]
            torch.testing.assert_close(shown, stored)
        assert ((read(observation, "soc") >= 0) & (read(observation, "soc") <= 1 + 1e-9)).all()
        interval = sim.step(policy(observation))
        observation = interval.observation
        n = sim.num_seats
        volume = interval.clearing.volume_kw[:, None].expand(-1, n)
        torch.testing.assert_close(read(observation, "last_volume") * n, volume)
        demand = (-interval.orders.quantity_kw).clamp(min=0).sum(-1, keepdim=True).expand(-1, n)
        torch.testing.assert_close(read(observation, "last_demand") * n, demand)
        torch.testing.assert_close(read(observation, "voltage") + 1, interval.delivered.voltage_pu)
        torch.testing.assert_close(
            read(observation, "included"), interval.receipts.included.double()
        )
        torch.testing.assert_close(read(observation, "locked"), interval.locked_eur)
        assert (read(observation, "filled") <= 1 + 1e-9).all()
        assert h == c.slot_h


def test_an_unknown_feature_is_refused(town):
    with pytest.raises(UnknownNameError, match="unknown feature 'reference_prices': did you mean"):
        read(town.simulation().reset(), "reference_prices")


def test_last_prices_stay_until_the_next_trade(town):
    sim = town.simulation()
    last = torch.zeros(2, dtype=torch.float64)
    for interval in play(sim):
        price = interval.clearing.reference_price
        last = torch.where(price.isnan(), last, price)
        shown = read(interval.observation, "last_price")
        torch.testing.assert_close(shown, last[:, None].expand_as(shown))
