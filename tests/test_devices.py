"""Devices of every kind keep their limits and lose no energy unseen; a seat owns any number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import SLOTS, play, random_policy
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gridbazaar import envs
from gridbazaar.agents.bidders import BIDDERS, make
from gridbazaar.configs import options
from gridbazaar.envs import kpis
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.devices import DEVICES, Band, Device, DeviceConfig, Profile
from gridbazaar.envs.devices.fleet import seat_power, share_cut
from gridbazaar.envs.devices.site import Site, per_unit
from gridbazaar.envs.devices.storage import Storage
from gridbazaar.envs.devices.store import Content
from gridbazaar.envs.devices.vehicle import Vehicle
from gridbazaar.envs.layout import Layout
from gridbazaar.envs.observation import FEATURES, ROLES, Feature, read
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.errors import ConfigError
from gridbazaar.evaluation.given_days import days_of
from gridbazaar.evaluation.optimum import Optimum
from gridbazaar.rows import pick_rows

H, B, F64 = 0.25, 3, torch.float64
# Every kind that is configured, in one community.
ALL = (
    "task.devices.vehicle.v2g=true",
    *(
        f"+devices@task.devices.{kind}={kind}"
        for kind in options("devices")
        if kind not in envs.world().task.devices
    ),
)
every_kind = pytest.mark.parametrize("kind", options("devices"))


def one(value: float) -> Tensor:
    return torch.tensor([value], dtype=F64)


def battery(charge=5.0, discharge=4.0, efficiency=0.9, floor=0.1, ceiling=0.95, size=100.0):
    given_kw = (one(charge), one(discharge), one(efficiency), one(0.05))
    return Storage(torch.tensor([0]), *given_kw, H, one(floor), one(ceiling), one(size))


def holding(energy: float, capacity: float) -> Content:
    return Content(one(energy)[None], one(capacity)[None])


@settings(deadline=None, max_examples=60)
@given(
    request=st.floats(-1e6, 1e6),
    soc=st.floats(0.1, 0.95),
    capacity=st.floats(0, 50),
    efficiency=st.floats(0.5, 1),
)
def test_state_of_charge_stays_within_its_band(request, soc, capacity, efficiency):
    hardware, state = battery(efficiency=efficiency), holding(soc * capacity, capacity)
    power = hardware.band(state).nearest(one(request)[None])
    after = hardware.advance(state, power).energy_kwh
    assert -5.0 <= power.item() <= 4.0
    assert abs(power.item()) <= abs(request)
    assert power.item() * request >= 0
    assert 0.1 * capacity - 1e-9 <= after.item() <= 0.95 * capacity + 1e-9


def test_a_round_trip_keeps_the_round_trip_efficiency():
    hardware, start = battery(), holding(50.0, 100.0)
    full = hardware.advance(start, one(-4.0)[None])
    given_back = (full.energy_kwh - start.energy_kwh) * hardware.efficiency / H
    assert torch.allclose(given_back, one(4.0) * 0.9**2)
    assert torch.allclose(hardware.advance(full, given_back).energy_kwh, start.energy_kwh)
    assert torch.equal(hardware.band(full).nearest(given_back), given_back)


def test_storage_outside_its_band_may_only_return_to_it():
    hardware, ask = battery(), one(3.0)[None]
    empty, full = holding(0.0, 10.0), holding(10.0, 10.0)
    assert hardware.band(empty).nearest(ask).item() == 0
    assert hardware.band(full).nearest(-ask).item() == 0
    assert hardware.band(empty).nearest(-ask).item() == -3
    assert hardware.band(full).nearest(ask).item() == 3


def test_without_storage_nothing_flows():
    none = battery(0, 0, 1, 0, 0)
    for ask in (-3.0, 0.0, 3.0):
        assert none.band(holding(0, 0)).nearest(one(ask)[None]).item() == 0


def test_an_arriving_car_brings_what_it_lends_and_leaves_with_what_it_got(town):
    cars = town.simulation("task.devices.vehicle.v2g=true").fleet.kinds["vehicle"]
    assert isinstance(cars, Vehicle)
    need, left = torch.zeros(3, len(cars.seat)).double(), torch.zeros(3, len(cars.seat)).double()
    need[1, 0], left[1:, 0] = 8.0, torch.tensor([2.0, 1.0])
    cars = replace(cars, need_kwh=need, session_kwh=need, slots_left=left)
    state = cars.begin(torch.tensor([0]), need[:1])
    assert state.capacity_kwh.sum() == 0
    state = cars.arrive(state, torch.tensor([1]))
    assert state.energy_kwh[0, 0] == cars.lent_kwh[0] == 10
    assert state.capacity_kwh[0, 0] == 18
    stays, unserved = cars.depart(state)
    assert unserved.sum() == 0
    assert torch.equal(stays.capacity_kwh, state.capacity_kwh)
    gone, unserved = cars.depart(cars.arrive(stays, torch.tensor([2])))
    assert unserved[0].tolist() == [8, *[0] * (len(cars.seat) - 1)]
    assert gone.energy_kwh.sum() == gone.capacity_kwh.sum() == 0


def at_noon(town, kind, seed=0):
    """Return the units of a kind and a state of theirs that a random half day has led to."""
    sim = town.simulation(*ALL, num_envs=B)
    for _ in play(
        sim, random_policy(seed, entries=len(sim.game.layout.actions)), seed=seed, slots=50
    ):
        pass
    return sim, sim.fleet.kinds[kind], sim.devices[kind]


def requests(device, seed=0):
    draw = torch.Generator().manual_seed(seed)
    most = torch.maximum(device.import_kw, device.export_kw)
    return (torch.rand(B, len(device.seat), generator=draw, dtype=F64) * 3 - 1.5) * most


@every_kind
def test_feasible_power_is_within_the_ratings_and_feasible(town, kind):
    _, device, state = at_noon(town, kind)
    for seed in range(5):
        power = device.band(state).nearest(requests(device, seed))
        assert (power <= device.export_kw + 1e-12).all()
        assert (power >= -device.import_kw - 1e-12).all()
        torch.testing.assert_close(device.band(state).nearest(power), power)


@every_kind
def test_no_energy_comes_from_nothing(town, kind):
    _, device, state = at_noon(town, kind)
    for seed in range(5):
        power = device.band(state).nearest(requests(device, seed))
        after = device.advance(state, power)
        gained = device.content_kwh(after) - device.content_kwh(state)
        assert (gained <= -power * device.slot_h + 1e-9).all()
        assert (device.content_kwh(after) >= -1e-9).all()


@every_kind
def test_no_state_is_changed_in_place_and_no_market_touches_another(town, kind):
    sim, device, state = at_noon(town, kind)
    kept = type(state)(*(part.clone() for part in state))
    row, rows, end = sim.first_slot + sim.t, torch.tensor([2, 0]), sim.state.today.end_prices

    def after(state, row, power, end):
        moved = device.advance(state, device.band(state).nearest(power))
        left, unserved = device.depart(moved)
        worth = device.stored_eur(state, left, end, True)
        seen = device.observe(device.arrive(left, row))
        return [*left, unserved, worth, device.wear_eur(power), *seen.values()]

    power = requests(device)
    together = after(state, row, power, end)
    alone = after(pick_rows(state, rows), row[rows], power[rows], pick_rows(end, rows))
    for whole, part in zip(together, alone, strict=True):
        torch.testing.assert_close(whole[rows], part)
    for was, now in zip(kept, state, strict=True):
        assert torch.equal(was, now)


@every_kind
def test_a_kind_shows_what_it_names(town, kind):
    sim, device, state = at_noon(town, kind)
    assert device.observe(state).keys() == {feature.name for feature in device.FEATURES}
    assert device.ratings().keys() == {feature.name for feature in device.RATINGS}
    assert device.schedule().keys() == {feature.name for feature in device.SCHEDULE}
    for values in device.schedule().values():
        assert values.shape == (len(sim.community.load_kw), len(device.seat))


@every_kind
def test_what_units_do_differentiates(town, kind):
    _, device, state = at_noon(town, kind)
    request = requests(device).requires_grad_()
    power = device.band(state).nearest(request)
    value = device.stored_eur(state, device.advance(state, power), _prices(), False)
    (value - device.wear_eur(power)).sum().backward()
    assert request.grad is not None
    assert request.grad.isfinite().all()


def _prices(level=0.3):
    return SlotPrices(*[torch.full((B, 1), level, dtype=F64)] * 5)


@every_kind
@pytest.mark.parametrize("served", [1.0, 0.7], ids=["kept", "cut"])
def test_the_profile_of_a_day_is_what_the_units_do(town, kind, served):
    """Whether promises are kept or, as where a feeder bears no more, less is taken than must be."""
    sim = town.simulation(*ALL, num_envs=B)
    sim.reset(seed=4)
    device, state, T = sim.fleet.kinds[kind], sim.devices[kind], sim.slots
    row = sim.first_slot.unsqueeze(-1) + torch.arange(T)
    profile = device.profile(state, row, _prices())
    if profile is None:
        pytest.skip(f"{kind} has no profile")
    content, missed = torch.zeros_like(profile.end_worth), 0.0
    for t in range(T):
        p = Profile(*(part[..., t] if part.dim() == 3 else part for part in profile))
        power = device.band(state).nearest(requests(device, t)) * served
        state = device.advance(state, power)
        charge, discharge = (-power).clamp(min=0), power.clamp(min=0)
        moved = (charge * device.efficiency - discharge / device.efficiency) * device.slot_h
        content = p.carried * content + p.brought_kwh + moved
        torch.testing.assert_close(device.content_kwh(state), content)
        assert (charge <= p.import_kw + 1e-9).all()
        assert (discharge <= p.export_kw + 1e-9).all()
        if served == 1:
            assert (content >= p.floor_kwh - 1e-9).all()
        assert (content <= p.ceiling_kwh + 1e-9).all()
        state, unserved = device.depart(state)
        torch.testing.assert_close(unserved, (p.target_kwh - content).clamp(min=0) * p.due)
        missed += unserved.sum().item()
        if t + 1 < T:
            state = device.arrive(state, row[:, t + 1])
    if served == 1:
        assert missed == pytest.approx(0, abs=1e-6)
    else:
        assert missed > 0 or not (profile.due > 0).any()


def test_a_cut_is_shared_pro_rata_among_devices_of_its_direction():
    planned = torch.tensor([[[4.0, 2.0, -3.0], [-2.0, -6.0, 1.0], [1.0, -1.0, 0.0]]])
    assert torch.equal(share_cut(planned, seat_power(planned)), planned)
    less = share_cut(planned, torch.tensor([[0.0, -3.0, 0.0]]))
    torch.testing.assert_close(less[0, 0], torch.tensor([2.0, 1.0, -3.0]))
    torch.testing.assert_close(less[0, 1], torch.tensor([-1.0, -3.0, 1.0]))
    torch.testing.assert_close(less[0, 2], planned[0, 2])
    alone, cut = torch.rand(5, 7, 1) - 0.5, torch.rand(5, 7)
    assert torch.equal(share_cut(alone, alone[..., 0] * cut), alone * cut.unsqueeze(-1))


# Two kinds that the project does not have: a charger at a home that may own a battery, and a tank
# that loses heat.


class HomeVehicle(Vehicle):
    """Chargers of the data at homes, one after the other."""

    @classmethod
    def install(cls, config, site):
        """See Device."""
        aside = Site(site.series, site.ownership, site.busbar)
        owners = np.flatnonzero(site.ownership.battery_kwh > 0)
        units = Vehicle.install(config, aside)
        at = owners[np.arange(len(units.seat)) % len(owners)]
        return cls(**vars(replace(units, seat=torch.as_tensor(at))))


class TankConfig(DeviceConfig):
    capacity_kwh: float
    kept: float


class Heat(NamedTuple):
    heat_kwh: Tensor


@dataclass(frozen=True)
class Tank(Device):
    """Water heaters of two homes with a battery, that lose some heat in every slot."""

    capacity_kwh: Tensor
    kept: Tensor

    Config = TankConfig
    role = "tank"
    FEATURES = (Feature("heat", "kWh", 0.1, "heat in the tank"),)

    @classmethod
    def install(cls, config, site):
        first, *_, last = np.flatnonzero(site.ownership.battery_kwh > 0)
        owner = np.array([first, last, last])
        values = [per_unit(v, owner) for v in (3.0, 0.0, 0.98, 0.0)]
        more = [per_unit(v, owner) for v in (config.capacity_kwh, config.kept)]
        return cls(torch.as_tensor(owner), *values, site.slot_h, *more)

    def begin(self, row, chance):
        return Heat(chance * self.capacity_kwh)

    def band(self, state):
        room = (self.capacity_kwh - state.heat_kwh * self.kept).clamp(min=0)
        most = torch.minimum(self.import_kw, room / (self.efficiency * self.slot_h))
        nothing = torch.zeros_like(most)
        return Band(nothing, most, nothing)

    def advance(self, state, power_kw):
        heated = -power_kw * self.efficiency * self.slot_h
        return Heat(state.heat_kwh * self.kept + heated)

    def content_kwh(self, state):
        return state.heat_kwh

    def stored_eur(self, before, after, end, over):
        return (after.heat_kwh - before.heat_kwh) * end.feed_in

    def observe(self, state):
        return {"heat": state.heat_kwh}

    def profile(self, state, row, end):
        T = row.shape[1]
        later = (torch.arange(T) > 0).expand(*state.heat_kwh.shape, T)
        heat, zero = state.heat_kwh.unsqueeze(-1), torch.zeros(*later.shape, dtype=F64)
        kept = self.kept.unsqueeze(-1)
        return Profile(
            carried=later * kept,
            brought_kwh=torch.where(later, 0.0, heat * kept),
            floor_kwh=zero,
            ceiling_kwh=zero + self.capacity_kwh.unsqueeze(-1),
            import_kw=zero + self.import_kw.unsqueeze(-1),
            export_kw=zero,
            due=zero,
            target_kwh=zero,
            end_worth=end.feed_in.expand_as(state.heat_kwh),
            reference_kwh=state.heat_kwh,
        )


CARS = "{round_trip_efficiency: 1.0, v2g: true, lent_kwh: 10.0, wear_price: 0.08}"
GARAGE = ("~task.devices.vehicle", f"+task.devices.home_vehicle={CARS}")
KETTLE = ("+task.devices.tank={capacity_kwh: 8.0, kept: 0.99}",)


@pytest.fixture
def toys(monkeypatch):
    """Enter the toy kinds for one test."""
    monkeypatch.setitem(DEVICES._entries, "home_vehicle", HomeVehicle)
    monkeypatch.setitem(DEVICES._entries, "tank", Tank)


@pytest.fixture
def shared(town, toys):
    """A community in which homes own a battery and a car, or two tanks, one on a weak feeder."""

    def build(*words, **options):
        world = envs.world(overrides=(*GARAGE, *KETTLE, *words))
        return town.build(world, num_envs=B, dtype=F64, **options)

    return build


def check_day(sim):
    c, fleet = sim.community, sim.fleet
    policy = random_policy(3, entries=len(sim.game.layout.actions))
    used, days = dict.fromkeys(fleet.kinds, 0.0), []
    for interval in play(sim, policy):
        d = interval.delivered
        torch.testing.assert_close(d.net_kw, d.pv_kw - interval.load_kw + d.flexible_kw)
        total = torch.zeros_like(d.net_kw)
        content = torch.zeros_like(d.net_kw)
        for kind, device in fleet.kinds.items():
            power = interval.device_kw[kind]
            assert (power <= device.export_kw + 1e-9).all()
            assert (power >= -device.import_kw - 1e-9).all()
            total = total.index_add(1, device.seat, power)
            content = content.index_add(1, device.seat, interval.content_kwh[kind])
            used[kind] += power.abs().sum().item()
        torch.testing.assert_close(total, d.flexible_kw)
        torch.testing.assert_close(content, interval.energy_kwh)
        assert torch.stack(list(interval.bill.accounts.values())).sum(0).abs().max() < 1e-9
        through = d.solution.slack_kw + d.net_kw.sum(-1)
        through = through + c.bus_p_kw[sim.first_slot + sim.t - 1].sum(-1)
        torch.testing.assert_close(through, d.solution.losses_kw, rtol=0, atol=1e-6)
        assert interval.reward.total.isfinite().all()
        assert interval.observation.shape == (B, sim.num_seats, sim.game.layout.size)
        assert interval.observation.isfinite().all()
        days.append(interval)
    assert all(value > 0 for value in used.values())
    return days


@pytest.mark.parametrize("action", ["price", "curtail", "prevent"])
def test_a_seat_with_two_devices_lives_a_day(shared, action):
    sim = shared(f"task.rules.limits.action={action}")
    battery, cars = sim.fleet.kinds["storage"], sim.fleet.kinds["home_vehicle"]
    assert sim.fleet.slots == 3
    assert set(cars.seat.tolist()) <= set(battery.seat.tolist())
    assert sim.community.roles == ROLES
    assert len(sim.community.seats_of("ev")) == 0
    days = check_day(sim)
    record = DayRecord.of(days, Facts.of(sim.community, 0.5), sim.delivery.limits)
    figures = kpis.compute(record)
    assert (figures["full_cycles"] > 0).all()
    used = record.load_kw.sum() - record.consumer_kw.clamp(max=0).sum()
    assert used > record.load_kw.sum()
    torch.testing.assert_close(record.battery_kw + record.consumer_kw, record.flexible_kw)


def test_further_devices_are_shown_behind_the_features_of_every_community(shared):
    sim = shared()
    seen, layout = sim.reset(seed=2), sim.game.layout
    assert layout.features[: len(FEATURES)] == FEATURES
    devices = [f"{name}{k}" for k in ("", "_2", "_3") for name in ("value", "margin", "share")]
    assert layout.actions == ("must_run_price", "correction", *devices, "priority_fee")
    kinds, states = sim.fleet.kinds, sim.devices
    slot = dict(zip(kinds, (part % 3 for part in _split(sim.fleet)), strict=True))
    for kind, device in kinds.items():
        shown = device.observe(states[kind]) | device.ratings()
        shown |= {n: v[sim.first_slot] for n, v in device.schedule().items()}
        for name, value in shown.items():
            each = layout.read_each(seen, name)[:, device.seat]
            at = slot[kind].expand(B, -1).unsqueeze(-1)
            got = each.gather(-1, at).squeeze(-1)
            torch.testing.assert_close(got, value.expand_as(got), rtol=1e-6, atol=1e-9)
    assert torch.equal(read(seen, "soc"), layout.read(seen, "soc"))
    rated = layout.read_each(seen, "flexible_kw")
    torch.testing.assert_close(rated, sim.fleet.rated_kw.expand_as(rated))
    with pytest.raises(KeyError):
        layout.read(seen, "soc", 3)


def _split(fleet):
    counts = [len(device.seat) for device in fleet.kinds.values()]
    return fleet.place.split(counts)


def test_what_a_second_device_does_is_not_what_the_first_does(shared):
    sim = shared()
    sim.reset(seed=3)
    # Only the first device offers anything, and takes at any price of the grid.
    action = torch.full((B, sim.num_seats, len(sim.game.layout.actions)), -1.0, dtype=F64)
    action[..., 2], action[..., 4] = 1.0, 1.0
    first = sim.step(action)
    assert first.device_kw["storage"].sum() < 0
    assert first.device_kw["home_vehicle"].abs().sum() == 0
    assert first.device_kw["tank"].abs().sum() == 0


@pytest.mark.parametrize("bidder", ["own_use", "stand_alone", "truthful", "tariff_rule", "mpc"])
def test_bidders_use_all_devices_and_none_beats_the_optimum(shared, bidder):
    sim = shared(split="test")
    act, state = make(bidder, sim.game), None
    seen = sim.reset(seed=6)
    days = days_of(sim)
    cost, missed = 0.0, 0.0
    for _ in range(SLOTS):
        action, state = act.act(seen, state)
        assert action.shape == (B, sim.num_seats, len(sim.game.layout.actions))
        interval = sim.step(action)
        seen = interval.observation
        cost -= interval.reward.total.sum(-1)
        missed += interval.unserved_kwh.sum().item()
    assert missed < 1.0
    optimum = Optimum(sim.community, sim.rules.unserved_price)
    best = torch.tensor([optimum.solve(day).cost_eur for day in days], dtype=F64)
    assert (cost >= best - 1e-6).all()


def test_every_bidder_knows_how_many_devices_there_are(shared):
    sim = shared()
    seen = sim.reset(seed=1)
    for name in BIDDERS.names():
        action, _ = make(name, sim.game).act(seen, None)
        assert action.shape == (B, sim.num_seats, len(sim.game.layout.actions)), name


def test_a_kind_of_its_own_needs_a_registration_and_a_configuration(town, toys):
    sim = town.build(envs.world(overrides=KETTLE), num_envs=B, dtype=F64)
    assert list(sim.fleet.kinds) == ["storage", "vehicle", "tank"]
    assert sim.game.layout.size > len(FEATURES)
    check_day(sim)


def test_a_kind_that_brings_seats_brings_a_role(town, toys, monkeypatch):
    class Depot(Tank):
        role = "depot"

        @classmethod
        def install(cls, config, site):
            tanks = super().install(config, site)
            return replace(tanks, seat=torch.as_tensor(site.add_seats("depot", [site.busbar] * 3)))

    monkeypatch.setitem(DEVICES._entries, "tank", Depot)
    words = (*KETTLE, "task.devices.tank.kept=0.9")
    sim = town.build(envs.world(overrides=words), num_envs=B, dtype=F64)
    assert sim.community.seats[-3:] == ("depot_0", "depot_1", "depot_2")
    assert sim.community.roles == (*ROLES, "depot")
    seen = sim.reset(seed=0)
    assert sim.game.layout.read(seen, "is_depot").sum(-1).tolist() == [3] * B
    check_day(sim)


def test_an_unknown_kind_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'task.devices.storag': did you mean 'storage'"):
        envs.world(overrides=("+task.devices.storag={soc_floor: 0.1}",))
    with pytest.raises(ConfigError, match=r"task.devices.storage.soc_floor.*2"):
        envs.world(overrides=("task.devices.storage.soc_floor=2",))
    with pytest.raises(ConfigError, match=r"unknown key 'task.devices.storage.colour'"):
        envs.world(overrides=("+task.devices.storage.colour=red",))


def test_two_kinds_may_not_show_different_things_under_one_name():
    class Odd(Tank):
        FEATURES = (Feature("soc", "1", 2.0, "of a tank"),)

    class Odder(Tank):
        FEATURES = (Feature("retail", "1", 2.0, "of a tank"),)

    with pytest.raises(ConfigError, match="show 'soc'"):
        Layout(ROLES, [Storage, Odd])
    with pytest.raises(ConfigError, match="retail stand twice"):
        Layout(ROLES, [Odder])
