from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import play, random_policy

from gridbazaar import envs
from gridbazaar.envs import kpis
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.kpis.registry import quantile
from gridbazaar.envs.observation import ROLES

B = 3


class Played:
    """A day of random actions in float64, and what the ledger was sent."""

    def __init__(self, overrides=(), ledger="ideal", slots=None, market="uniform_auction"):
        world = envs.world(market=market, ledger=ledger, overrides=overrides)
        self.simulation = sim = envs.build(world, B, "test", 0, dtype=torch.float64)
        self.sent, step = [], sim.ledger.step
        sim.ledger.step = lambda orders, deadline: (
            self.sent.append(orders.sent),
            step(orders, deadline),
        )[1]
        sim.reset(seed=5)
        self.first_slot, noise = sim.first_slot, torch.Generator().manual_seed(0)
        shape = (B, sim.num_seats, len(sim.game.layout.actions))
        self.intervals = [
            sim.step(2 * torch.rand(shape, generator=noise, dtype=torch.float64) - 1)
            for _ in range(slots or sim.slots)
        ]
        facts = Facts.of(sim.community, 0.5)
        self.day = DayRecord.of(self.intervals, facts, sim.delivery.limits)
        self.kpis = kpis.compute(self.day)


@pytest.fixture(scope="module")
def played():
    return Played()


@pytest.fixture(scope="module")
def congested():
    return Played(("ledger.block_gas=1",), "block", slots=24)


def test_every_figure_is_one_number_per_market_with_a_meaning(played):
    for name, kpi in kpis.KPIS.items():
        assert played.kpis[name].shape == (B,), name
        assert played.kpis[name].dtype is torch.float64, name
        assert kpi.meaning
        assert kpi.unit
        assert kpi.better in ("lower", "higher", "-")
        assert kpi.group in kpis.GROUPS


def test_a_figure_that_needs_more_than_a_record_says_so(played):
    with pytest.raises(TypeError, match="of a day alone"):
        kpis.Kpi("later", "1", "-", "Known elsewhere").compute(played.day)


def test_energy_in_is_energy_out_plus_losses(played):
    day, community = played.day, played.simulation.community
    torch.testing.assert_close(day.net_kw, day.pv_kw - day.load_kw + day.flexible_kw)
    k = played.kpis
    outside = day.net_kw.sum((0, -1)) * day.facts.slot_h
    torch.testing.assert_close(k["grid_export"] - k["grid_import"], outside)
    rows = played.first_slot + torch.arange(len(day.retail)).unsqueeze(-1)
    others = community.bus_p_kw[rows].sum(-1)
    torch.testing.assert_close(
        day.slack_kw, day.losses_kw - day.net_kw.sum(-1) - others, atol=1e-6, rtol=0
    )


def test_money_adds_up(played):
    k, gained = played.kpis, sum(i.reward.total for i in played.intervals)
    torch.testing.assert_close(k["community_cost"], -gained.sum(-1))
    by_role = sum(k[f"cost_{role}"] for role in ROLES)
    torch.testing.assert_close(by_role, k["community_cost"])
    for interval in played.intervals:
        total = sum(interval.bill.accounts.values())
        torch.testing.assert_close(total, torch.zeros_like(total), atol=1e-9, rtol=0)
    zero = torch.zeros(B, dtype=torch.float64)
    torch.testing.assert_close(k["operator_surplus"], zero, atol=1e-9, rtol=0)
    pool = sum(interval.bill.accounts["pool"] for interval in played.intervals)
    torch.testing.assert_close(k["pool_account"], pool)
    assert (pool > 0).all()


_RULES = {
    "community": (),
    "own": ("firming=own",),
    "none": ("firming=none",),
    "grid": ("firming=own", "imbalance=grid"),
    "metered": ("firming=none", "quantity=metered"),
    "own dispatch": ("firming=none", "dispatch=own"),
}


@pytest.mark.parametrize("rules", _RULES)
@pytest.mark.parametrize("ledger", ["ideal", "block"])
def test_energy_by_channel_adds_up(town, rules, ledger):
    sim = town.simulation(*(f"task.rules.{word}" for word in _RULES[rules]), ledger=ledger)
    policy = random_policy(3, entries=len(sim.game.layout.actions))
    intervals = list(play(sim, policy, slots=48))
    passed_on = torch.zeros(2, dtype=torch.float64)
    for interval in intervals:
        filled_kw = interval.clearing.cleared_kw * (~interval.receipts.reverted).unsqueeze(-1)
        traded, grid_kw = interval.traded, interval.bill.grid_kw
        pool_kw = traded.net_kw - sim.order_slots.owners.total(filled_kw) - grid_kw
        # The pool only passes on: what one seat gives another takes.
        assert pool_kw.sum(-1).abs().max() < 1e-9
        parts = (pool_kw - traded.firmed_kw, traded.firmed_kw, grid_kw)
        sold_kw = sim.order_slots.owners.total(filled_kw.clamp(min=0))
        sold_kw = sold_kw + sum(part.clamp(min=0) for part in parts)
        passed_on += torch.minimum(sold_kw, sold_kw - traded.net_kw).sum(-1) * 0.25
    day = DayRecord.of(intervals, Facts.of(sim.community, 0.5), sim.delivery.limits)
    channels = ("own_use", "traded_energy", "firmed_energy", "pooled_energy", "bought_from_grid")
    energy = torch.stack([kpis.KPIS[name].compute(day) for name in channels])
    assert (energy > -1e-9).all()
    taken = {kind: (-power).clamp(min=0) for kind, power in day.device_kw.items()}
    used_kw = day.load_kw + day.by_seat(taken, taken)
    torch.testing.assert_close(energy.sum(0), used_kw.sum((0, -1)) * 0.25 + passed_on)
    assert (energy[2] > 1).all() == (rules == "community")
    assert (energy[3] > 1).all() == (rules not in ("grid", "metered"))


def test_shares_are_shares(played):
    for name in ("self_sufficiency", "self_consumption", "missed_orders"):
        assert ((played.kpis[name] >= 0) & (played.kpis[name] <= 100)).all(), name


def test_the_auction_takes_all_gains_that_the_book_offers(played):
    assert (played.kpis["social_welfare"] > 0).all()
    torch.testing.assert_close(
        played.kpis["allocative_efficiency"], torch.full((B,), 100.0).double()
    )


def test_carbon_follows_the_import(played):
    torch.testing.assert_close(played.kpis["carbon"], 0.5 * played.kpis["grid_import"])


def test_an_unsolved_interval_is_counted_and_left_out(played):
    voltage, solved = played.day.voltage_pu.clone(), played.day.solved.clone()
    voltage[10, 0] = 0.1
    solved[10, 0] = False
    losses = played.day.losses_kw.clone()
    losses[10, 0] = 1e6
    broken = kpis.compute(replace(played.day, voltage_pu=voltage, solved=solved, losses_kw=losses))
    assert broken["unsolved_flows"].tolist() == [1, 0, 0]
    assert broken["min_voltage"][0] >= played.kpis["min_voltage"][0]
    assert broken["losses"][0] < played.kpis["losses"][0]
    unsolved = kpis.compute(replace(played.day, solved=torch.zeros_like(solved)))
    assert unsolved["max_voltage"].isnan().all()


def test_every_order_sent_is_in_time_or_missed(congested):
    sent = torch.stack(congested.sent).sum(-1).double()
    day = congested.day
    assert (day.missed >= 0).all()
    torch.testing.assert_close(day.included + day.missed, sent)
    assert (congested.kpis["missed_orders"] > 50).all()
    assert (congested.kpis["finality_p50"] > 0).all()


def test_an_order_that_is_refused_is_missed():
    layer = "ledger.layers=[{name: prepaid_accounts, deposit: 0}]"
    refused = Played((layer,), "pbft", slots=24)
    sent = torch.stack(refused.sent).sum(-1).double()
    torch.testing.assert_close(refused.day.included + refused.day.missed, sent)
    assert (refused.kpis["missed_orders"] > 10).all()


def test_transactions_are_the_orders_sent_and_the_settlements(played, congested):
    for day in (played, congested):
        sent = torch.stack(day.sent).sum((0, -1)).double()
        settled = sum((i.clearing.cleared_kw != 0).any(-1).double() for i in day.intervals)
        torch.testing.assert_close(day.kpis["transactions"], sent + settled)


def test_messages_of_the_mechanism_are_transactions_unless_seats_talk_to_each_other():
    for market, written in (("admm_sequential", True), ("admm_parallel", False)):
        day = Played((), "block", 40, market)
        sent = torch.stack(day.sent).sum((0, -1)).double()
        settled = sum((i.clearing.cleared_kw != 0).any(-1).double() for i in day.intervals)
        messages = day.kpis["market_messages"]
        assert (messages > 0).all()
        torch.testing.assert_close(day.kpis["transactions"], sent + settled + messages * written)
        delay_s = torch.stack([i.market_receipts.delay_s for i in day.intervals])
        assert (delay_s[:, messages > 0].amax() > 0) == written


def test_rounds_and_messages_are_counted(played):
    counts = torch.arange(B) + 2
    clearing = replace(played.intervals[0].clearing, iterations=counts * 4, messages=counts)
    intervals = [replace(interval, clearing=clearing) for interval in played.intervals]
    facts, limits = played.day.facts, played.simulation.delivery.limits
    talked = kpis.compute(DayRecord.of(intervals, facts, limits))
    assert talked["market_messages"].tolist() == (counts * len(intervals)).tolist()
    assert talked["clearing_rounds"].tolist() == (counts * 4).tolist()


def test_clearings_that_did_not_converge_are_counted(played):
    cleared = played.day.cleared.clone()
    cleared[:24, 0] = False
    share = kpis.compute(replace(played.day, cleared=cleared))["unsolved_clearings"]
    assert share.tolist() == [100 * 24 / len(cleared), 0, 0]


def test_quantile_is_the_nearest_rank_of_what_is_finite():
    values = torch.rand(7, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values[0] = torch.inf
    for q in (0.5, 0.99):
        expected = [
            np.quantile(values[1:, b].flatten(), q, method="inverted_cdf") for b in range(2)
        ]
        assert quantile(values, q).tolist() == pytest.approx(expected)
    assert quantile(torch.full((3, 1), torch.inf).double(), 0.5).isnan().all()


def test_one_market_selected_is_that_market(played):
    one = kpis.compute(played.day.select(1))
    for name, values in played.kpis.items():
        torch.testing.assert_close(one[name], values[1:2], equal_nan=True)
