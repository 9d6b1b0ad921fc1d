"""Whole days under random policies: energy, money, promises, time and chance, market by ledger."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pandapower as pp
import pytest
import torch
from conftest import SLOTS, play, random_policy
from torch import Tensor

from gridbazaar import envs, ledger_sim
from gridbazaar.agents.bidders import make
from gridbazaar.envs.markets import MARKETS

F64 = torch.float64
USUAL = ("uniform_auction", "pay_as_bid", "mid_market_rate", "locational_price", "vcg", "block")
LEDGER_NAMES = ledger_sim.LEDGERS.names()
SINGLES = [
    *((market, "ideal") for market in MARKETS.names()),
    *(("uniform_auction", ledger) for ledger in LEDGER_NAMES if ledger != "ideal"),
]
# Market and ledger meet in orders and receipts alone: each market with another ledger,
# in turn, stands for all pairs.
PAIRS = [
    (market, LEDGER_NAMES[i % len(LEDGER_NAMES)])
    for i, market in enumerate(name for name in MARKETS.names() if name != "uniform_auction")
]
# `make test` plays some of them, `make test-all` all.
every_market_and_ledger = pytest.mark.parametrize(
    ("market", "ledger"),
    [
        pytest.param(*pair, marks=() if set(pair) <= {*USUAL, "ideal"} else pytest.mark.long)
        for pair in SINGLES
    ],
)
combinations = pytest.mark.parametrize(
    ("market", "ledger"),
    [
        *SINGLES,
        *(pytest.param(*pair, marks=pytest.mark.long) for pair in PAIRS if pair not in SINGLES),
    ],
)


def played(market, ledger):
    """Slots that suffice: a whole day of the default mechanism and ledger, else eight hours."""
    return SLOTS if (market, ledger) == ("uniform_auction", "block") else SLOTS // 3


def leaves(value, path=""):
    """Yield every tensor of an interval with its path."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}")
    elif is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name), f"{path}.{field.name}")


def assert_same(a, b, rows=slice(None), tolerance=0.0):
    """Hold every tensor of two intervals against each other, `rows` of the first."""
    other = dict(leaves(b))
    for path, tensor in leaves(a):
        if ".earlier" in path:
            continue
        # Whose orders stand in which place of the book is the same in all environments.
        got, expected = tensor if ".owners" in path else tensor[rows], other[path]
        if tolerance == 0:
            assert torch.equal(got.nan_to_num(-7.0), expected.nan_to_num(-7.0)), path
        elif got.is_floating_point() or got.is_complex():
            torch.testing.assert_close(
                got, expected, rtol=0, atol=tolerance, equal_nan=True, msg=lambda m, p=path: p + m
            )
        else:
            assert torch.equal(got, expected), path


@combinations
def test_energy_money_and_limits_hold_all_day(town, market, ledger):
    sim = town.simulation(market=market, ledger=ledger)
    c, traded = sim.community, 0.0
    before = None
    for interval in play(sim):
        d, bill = interval.delivered, interval.bill
        net = d.pv_kw - interval.load_kw + d.flexible_kw
        torch.testing.assert_close(d.net_kw, net, rtol=0, atol=1e-12)
        background = c.bus_p_kw[sim.first_slot + sim.t - 1].sum(-1)
        through = d.solution.slack_kw + d.net_kw.sum(-1) + background
        torch.testing.assert_close(through, d.solution.losses_kw, rtol=0, atol=1e-6)
        assert (d.solution.losses_kw > 0).all()
        assert d.solution.converged.all()

        together = torch.stack(list(bill.accounts.values())).sum(0)
        assert together.abs().max() < 1e-9
        receipts = interval.receipts
        took = receipts.validator_income + receipts.burned + interval.market_receipts.fee
        torch.testing.assert_close(bill.accounts["validators"], took, rtol=0, atol=1e-9)

        cleared, offered = interval.clearing.cleared_kw, interval.orders.quantity_kw
        assert (cleared.abs() <= offered.abs() + 1e-9).all()
        assert (cleared * offered >= 0).all()
        gain = (interval.clearing.price - interval.orders.limit_price) * cleared
        assert gain.min() >= -1e-9 or "individually_rational" not in MARKETS[market].claims
        assert (cleared[~receipts.included[:, sim.order_slots.owners.seat]] == 0).all()
        assert bill.accounts["pool"].min() >= -1e-9

        battery = sim.fleet.kinds["storage"]
        held, size = interval.content_kwh["storage"], battery.capacity_kwh
        assert (held >= battery.floor * size - 1e-9).all()
        assert (held <= battery.ceiling * size + 1e-9).all()
        for kind, state in sim.devices.items():
            most = state.capacity_kwh * sim.fleet.kinds[kind].ceiling
            assert (state.energy_kwh <= most + 1e-9).all()

        parts = interval.reward
        total = parts.bill + parts.wear + parts.unserved + parts.violation + parts.stored
        assert torch.equal(parts.total, total)
        assert torch.equal(parts.bill, bill.total)
        torch.testing.assert_close(parts.violation.sum(-1), -d.violation_eur, rtol=0, atol=1e-9)
        for path, tensor in leaves(interval):
            if tensor.is_floating_point() and not path.endswith(
                ("latency_s", "arrival_s", "reference_price")
            ):
                assert tensor.isfinite().all(), path
        traded += interval.clearing.volume_kw.sum().item()
        before = interval
    assert before is not None
    assert before.done
    if "efficient" in MARKETS[market].claims:
        assert traded > 0


def test_stored_energy_is_what_went_in_less_losses(town):
    sim = town.simulation()
    sim.reset(seed=3)
    battery, policy = sim.fleet.kinds["storage"], random_policy(3)
    start, efficiency = sim.devices["storage"].energy_kwh, battery.efficiency
    moved, seats = torch.zeros_like(start), start.new_zeros(2, sim.num_seats, 1)
    for _ in range(SLOTS):
        power = sim.step(policy(seats)).delivered.flexible_kw[:, battery.seat]
        moved += (-power.clamp(max=0) * efficiency - power.clamp(min=0) / efficiency) * 0.25
    torch.testing.assert_close(sim.devices["storage"].energy_kwh - start, moved)


def test_what_is_left_in_store_is_valued_at_the_days_end(town):
    sim = town.simulation()
    sim.reset(seed=3)
    battery, cars = (sim.fleet.kinds[kind] for kind in ("storage", "vehicle"))
    start, prices = sim.devices["storage"].energy_kwh, sim.community.prices
    day = list(play(sim, seed=3))
    worth, expected = sum(i.reward.stored for i in day), start.new_zeros(2, sim.num_seats)
    row = sim.first_slot + SLOTS - 1
    gained = (day[-1].content_kwh["storage"] - start) * battery.efficiency
    expected[:, battery.seat] = gained * prices.stored_worth[row, None]
    # A car that leaves with the last slot is settled by what it missed.
    lacking = cars.session_kwh[row] + cars.lent_kwh - day[-1].content_kwh["vehicle"]
    stays = cars.slots_left[row] > 1
    expected[:, cars.seat] = -lacking * stays * prices.next_low[row, None]
    torch.testing.assert_close(worth, expected)


def test_voltages_are_pandapowers(town):
    sim = town.simulation()
    policy, c = random_policy(1), sim.community
    observation = sim.reset(torch.tensor([3, 4]) * SLOTS, seed=1)
    module = sim.delivery._feeder.network
    injection_bus = np.unique(
        np.concatenate(
            [
                town.series.home_bus,
                town.series.sessions.charger_bus,
                town.series.background_bus,
                [int(town.net.trafo.lv_bus.iloc[0])],
            ]
        )
    )
    net = pp.pandapowerNet(town.net)
    for table in ("load", "sgen", "storage"):
        getattr(net, table).drop(getattr(net, table).index, inplace=True)
    loads = pp.create_loads(net, injection_bus, p_mw=np.zeros(len(injection_bus)), q_mvar=0.0)
    for t in range(60):
        interval = sim.step(policy(observation))
        if t not in (0, 30, 50, 59):
            continue
        row = int(sim.first_slot[1]) + t
        at_bus = interval.delivered.net_kw[1] @ sim.delivery._to_bus + c.bus_p_kw[row]
        net.load.loc[loads, "p_mw"] = -at_bus.numpy() / 1e3
        net.load.loc[loads, "q_mvar"] = -c.bus_q_kvar[row].numpy() / 1e3
        pp.runpp(net, tolerance_mva=1e-12, numba=False)
        expected = net.res_bus.vm_pu.loc[module.buses].to_numpy()
        got = interval.delivered.solution.vm_pu[1].numpy()
        assert np.abs(got - expected).max() < 1e-8


def test_the_reward_is_computed_after_physics(town):
    world = envs.world()
    sunny = replace(town.series, pv_per_kwp=np.array(town.series.pv_per_kwp))
    day, noon = 5 * SLOTS, 50
    sunny.pv_per_kwp[day + noon] *= 0.5
    outcomes = []
    for series in (town.series, sunny):
        sim = town.build(world, series, dtype=F64)
        *_, last = play(sim, days=torch.tensor([day, day]), slots=noon + 1)
        outcomes.append(last)
    a, b = outcomes
    assert torch.equal(a.orders.quantity_kw, b.orders.quantity_kw)
    assert torch.equal(a.clearing.cleared_kw, b.clearing.cleared_kw)
    assert not torch.equal(a.delivered.pv_kw, b.delivered.pv_kw)
    assert (b.reward.total.sum(-1) < a.reward.total.sum(-1)).all()


def test_forecast_errors_break_promises_and_breaking_one_costs(town):
    alone = ("task.rules.imbalance=grid", "task.rules.firming=none")
    sim = town.simulation("task.rules.forecast_spread=0.5", *alone)
    penalty = sum(i.bill.penalty.sum() for i in play(sim))
    assert penalty < -0.01


@pytest.mark.parametrize(
    "known",
    [
        ("task.rules.forecast=perfect", "task.rules.firming=community"),
        ("task.rules.quantity=metered", "task.rules.firming=none"),
    ],
    ids=["perfect", "metered"],
)
def test_who_knows_the_slot_deviates_from_nothing(town, known):
    sim, traded = town.simulation(*known), 0.0
    policy = random_policy(7)

    def forecasts_alone(observation):
        action = policy(observation)
        action[..., 1] = 0  # no correction
        return action

    for interval in play(sim, forecasts_alone):
        # Features are stored in single precision.
        assert interval.traded.deviation_kw.abs().max() < 1e-5
        assert interval.traded.firmed_kw.abs().max() < 1e-5
        traded += interval.clearing.volume_kw.sum().item()
    assert traded > 1


OPTIONS = {
    "committed, pool, nobody firms": ("task.rules.firming=none",),
    "committed, pool, own": ("task.rules.firming=own",),
    "committed, pool, storage seats": ("task.rules.firming=storage_seats",),
    "committed, grid": ("task.rules.imbalance=grid", "task.rules.firming=none"),
    "committed, grid, own": ("task.rules.imbalance=grid", "task.rules.firming=own"),
    "metered, grid": (
        "task.rules.quantity=metered",
        "task.rules.imbalance=grid",
        "task.rules.firming=none",
    ),
    "own dispatch": ("task.rules.dispatch=own", "task.rules.firming=none"),
    "curtailed": ("task.rules.limits.action=curtail", "task.feeder.voltage_band=[0.99,1.01]"),
    "prevented": ("task.rules.limits.action=prevent",),
    "V2G": ("task.devices.vehicle.v2g=true",),
    "compensated": ("task.rules.compensation=metered",),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_positions_devices_and_meters_follow_from_orders_under_every_option(town, option):
    """The page on the interval, computed anew from its record with plain sums."""
    sim = town.simulation("task.rules.forecast_spread=0.3", *OPTIONS[option])
    seat, firmed = sim.order_slots.owners.seat, 0.0
    for interval in play(sim, seed=5):
        t, d, bill = interval.traded, interval.delivered, interval.bill
        book, cleared = interval.orders.quantity_kw, interval.clearing.cleared_kw
        sums = torch.zeros_like(t.net_kw).index_add(1, seat, cleared)
        torch.testing.assert_close(t.cleared_kw, sums)
        # Without curtailment, what deviates is what was not forecast.
        together = torch.stack(list(bill.accounts.values())).sum(0)
        assert together.abs().max() < 1e-9
        assert bill.accounts["pool"].min() >= -1e-9
        assert (bill.network <= 0).all()
        local_kw = -bill.network / (interval.tariff.local_charge * 0.25)
        assert (local_kw <= (-t.net_kw).clamp(min=0) + 1e-9).all()
        assert ((book != 0).sum(-1) > 0).any()
        for kind, device in sim.fleet.kinds.items():
            assert (interval.device_kw[kind] <= device.export_kw + 1e-9).all()
            assert (interval.device_kw[kind] >= -device.import_kw - 1e-9).all()
        firmed += t.firmed_kw.abs().sum().item()
        assert d.net_kw is t.net_kw or torch.equal(d.net_kw, t.net_kw)
    assert (firmed > 0) == (sim.rules.firming in ("storage_seats", "community"))


def test_with_compensation_nobody_pays_more_than_alone_where_the_community_gains(town):
    """The same devices at the grid's prices, interval by interval; without it some pay more."""
    worse = {}
    for rule in ("none", "metered"):
        sim = town.simulation(f"task.rules.compensation={rule}")
        bidder, worse[rule], gained = make("own_use", sim.game), 0, 0
        for interval in play(sim, lambda seen, by=bidder: by.act(seen, None)[0], slots=64):
            net, tariff, bill = interval.traded.net_kw, interval.tariff, interval.bill
            alone = (net.clamp(min=0) * tariff.feed_in + net.clamp(max=0) * tariff.retail) * 0.25
            gain = bill.total - alone
            together = gain.sum(-1) > 1e-9
            gained += int(together.sum())
            worse[rule] += int((gain[together] < -1e-9).sum())
            assert bill.compensation.sum(-1).abs().max() < 1e-9
            losing = gain[~together]
            assert rule == "none" or (losing <= 1e-9).all()
        assert gained > 40
    assert worse["none"] > 0
    assert worse["metered"] == 0


def test_every_kwh_of_a_seat_is_cleared_from_the_grid_firmed_or_pooled(town):
    """Money tells energy: at prices of one, an account holds the kW that it settled."""
    sim = town.simulation("task.rules.forecast_spread=0.3")
    for interval in play(sim, slots=48):
        t, tariff = interval.traded, interval.tariff
        bill = interval.bill
        surplus = bill.grid.clamp(min=0) / tariff.feed_in
        shortage = bill.grid.clamp(max=0) / tariff.retail
        grid_kw = (surplus + shortage) / 0.25
        pooled_kw = t.net_kw - t.cleared_kw - t.firmed_kw - grid_kw
        deviation = t.deviation_kw
        # The pool takes of a deviation no more than it is, and in its direction.
        planned = t.position_kw - t.cleared_kw
        left = grid_kw - planned
        torch.testing.assert_close(pooled_kw, deviation - left)
        assert (bill.pool * deviation >= -1e-12).all()
        assert (pooled_kw * deviation >= -1e-12).all()
        assert (pooled_kw.abs() <= deviation.abs() + 1e-9).all()


@pytest.mark.parametrize("market", ["continuous", "uniform_auction"])
def test_orders_arrive_between_submission_and_gate_closure(town, market):
    sim = town.simulation(market=market, ledger="block")
    for interval in play(sim):
        arrival_s = interval.orders.arrival_s[interval.orders.quantity_kw != 0]
        assert (arrival_s >= sim.submission_s).all()
        assert (arrival_s <= sim.rules.gate_closure_s + 0.5).all()


def test_orders_that_come_late_miss_the_auction_and_pay(town):
    narrow = ("ledger.block_gas=8", "ledger.fees.price=0.01")
    sim = town.simulation(*narrow, ledger="block")
    late = 0
    for interval in play(sim):
        missed = ~interval.receipts.included
        orders = missed[:, sim.order_slots.owners.seat]
        assert (interval.orders.quantity_kw[orders] == 0).all()
        assert (interval.clearing.cleared_kw[orders] == 0).all()
        assert (interval.bill.trade[missed] == 0).all()
        late += int((missed & (interval.bill.fee < 0)).sum())
        interval.orders.check()
    assert late > 0


def test_reverted_intervals_fall_back_on_the_grid(town):
    sure = town.simulation("ledger.reorganisation_probability=1", ledger="block")
    cleared = 0.0
    for interval in play(sure):
        cleared += interval.clearing.volume_kw.sum().item()
        net, tariff = interval.delivered.net_kw, interval.tariff
        grid = (net.clamp(min=0) * tariff.feed_in + net.clamp(max=0) * tariff.retail) * 0.25
        torch.testing.assert_close(interval.bill.total, grid + interval.bill.fee)
        assert interval.locked_eur.abs().max() == 0
        assert interval.receipts.reverted.all()
    assert cleared > 0


def test_money_is_locked_while_blocks_are_not_final_and_then_released(town):
    sim = town.simulation("ledger.confirmations=60", ledger="block")
    locked, trades = [], []
    for interval in play(sim):
        locked.append(interval.locked_eur)
        trades.append(interval.bill.trade.abs())
        wait = interval.receipts.finality_s / 900
    slots = int(wait.max().ceil())
    assert slots > 1
    for t in range(slots, SLOTS):
        most = torch.stack(trades[t - slots + 1 : t + 1]).sum(0)
        assert (locked[t] <= most + 1e-9).all()
    waiting = torch.stack(trades).sum(0) * wait.unsqueeze(-1)
    assert (torch.stack(locked).sum(0) <= waiting + 1e-9).all()
    assert torch.stack(locked).sum() > 0


@every_market_and_ledger
def test_the_same_seed_gives_the_same_bits(town, market, ledger):
    sim = town.simulation(market=market, ledger=ledger)
    slots = played(market, ledger)
    once = list(play(sim, seed=11, slots=slots))
    for first, second in zip(once, play(sim, seed=11, slots=slots), strict=True):
        assert_same(first, second)


@every_market_and_ledger
def test_a_batch_is_its_environments_one_by_one(town, market, ledger):
    """Every output, each environment with the seed it has in the batch."""
    spread = "task.rules.forecast_spread=0.2"
    sim = town.simulation(spread, market=market, ledger=ledger, num_envs=3)
    one = town.simulation(spread, market=market, ledger=ledger, num_envs=1)
    draws = random_policy(5)
    slots = played(market, ledger)
    actions = [draws(torch.zeros(3, sim.num_seats, 1, dtype=F64)) for _ in range(slots)]
    first = sim.reset(seed=21)
    together = [sim.step(action) for action in actions]
    for b in (0, 2):
        torch.testing.assert_close(one.reset(seed=21 + b), first[b : b + 1], rtol=0, atol=1e-9)
        for action, expected in zip(actions, together, strict=True):
            assert_same(expected, one.step(action[b : b + 1]), rows=slice(b, b + 1), tolerance=1e-9)


@pytest.mark.parametrize("ledger", ledger_sim.LEDGERS.names())
def test_reset_leaves_nothing_behind(town, ledger):
    spread = "task.rules.forecast_spread=0.2"
    world = envs.world(ledger=ledger, overrides=(spread,))
    used, fresh = (town.build(world, dtype=F64) for _ in range(2))
    for _ in play(used, seed=5, slots=50):
        pass
    for a, b in zip(play(used, seed=9, slots=50), play(fresh, seed=9, slots=50), strict=True):
        assert_same(a, b)


def test_resets_draw_other_days_and_levels(town):
    sim = town.simulation(num_envs=8)
    sim.reset(seed=0)
    day, level = sim.first_slot, sim.devices["storage"].energy_kwh
    sim.reset()
    assert not torch.equal(day, sim.first_slot)
    assert not torch.equal(level, sim.devices["storage"].energy_kwh)
    train = set(sim.community.days["train"].tolist())
    assert set(day.tolist()) | set(sim.first_slot.tolist()) <= train


def test_a_chosen_day_is_played(town):
    sim = town.simulation()
    chosen = sim.community.days["test"][:2]
    sim.reset(chosen)
    assert torch.equal(sim.first_slot, chosen)
