"""Orders as they are sent: leftovers of rounding are none, in any precision and for any bidder."""

from __future__ import annotations

import pytest
import torch

from gridbazaar.agents.bidders import BIDDERS, make
from gridbazaar.envs.submission import least_order_kw, orders_of

F32, F64 = torch.float32, torch.float64


@torch.no_grad()
def sent(simulations, bidder, slots):
    """Return what a bidder's seats sent in each, [slots, B, M] kW; the first one's actions rule."""
    first, *_ = observations = [simulation.reset(seed=3) for simulation in simulations]
    bidder, state = make(bidder, simulations[0].game), None
    kw = [[] for _ in simulations]
    for _ in range(slots):
        action, state = bidder.act(first, state)
        for row, simulation, seen in zip(kw, simulations, observations, strict=True):
            row.append(simulation.step(action.to(seen)))
        first, *_ = observations = [row[-1].observation for row in kw]
    return [torch.stack([interval.sent_kw for interval in row]) for row in kw]


@pytest.mark.parametrize("bidder", BIDDERS.names())
def test_no_bidder_sends_less_than_the_least_order_and_precision_decides_on_none(town, bidder):
    worlds = [town.simulation(ledger="block", dtype=dtype) for dtype in (F64, F32)]
    least = least_order_kw(worlds[0].community)[worlds[0].order_slots.owners.seat]
    in_double, in_single = sent(worlds, bidder, 48)
    for quantity in (in_double, in_single):
        assert not ((quantity != 0) & (quantity.abs() < least)).any()
    # Later, rounding may decide which of two equal offers trades, and so what a battery holds.
    early = slice(0, 32)
    assert (in_double[early] != 0).sum() > 0
    assert torch.equal(in_double[early] != 0, in_single[early] != 0)


def test_leftovers_are_not_sent_not_charged_and_not_counted(town):
    """A home that commits half of the least order is as one that orders nothing."""
    sim = town.simulation(ledger="block")
    least = least_order_kw(sim.community)
    observation = sim.reset(seed=5)
    layout = sim.game.layout
    need = layout.read(observation, "forecast_load") - layout.read(observation, "forecast_pv")
    able = (need > 0.01) & (need < 0.9 * sim.game.largest_kw)
    seat = int(able.all(0).nonzero()[0, 0])
    mine = sim.order_slots.owners.seat == seat

    def interval_with(left_kw):
        sim.reset(seed=5)
        action = torch.zeros(*observation.shape[:2], len(layout.actions), dtype=F64)
        action[:, seat, layout.actions.index("share")] = -1  # no device is offered
        corrected = (need + left_kw) / sim.game.largest_kw
        action[:, seat, layout.actions.index("correction")] = corrected[:, seat]
        return sim.step(action)

    some, none = interval_with(2 * least), interval_with(least / 2)
    assert (some.sent_kw[:, mine].sum(-1) > 0).all()
    assert (some.receipts.fee[:, seat] > 0).all()
    assert (none.sent_kw[:, mine] == 0).all()
    assert (none.orders.quantity_kw[:, mine] == 0).all()
    assert (none.receipts.fee[:, seat] == 0).all()
    assert not none.receipts.included[:, seat].any()
    assert torch.equal(some.sent_kw[:, ~mine], none.sent_kw[:, ~mine])
    # The leftover is the seat's position all the same.
    assert torch.allclose(none.traded.position_kw[:, seat], (least / 2)[seat])


def test_the_least_order_grows_with_the_seat_and_keeps_the_sign(town):
    community = town.simulation().community
    least = least_order_kw(community)
    most = torch.maximum(community.load_kw.amax(0), community.pv_kw.amax(0))
    assert (least >= 1e-4).all()
    assert (least >= 1e-5 * most).all()
    assert (least < 1e-3).all()
    given = torch.tensor([[1e-4, -1e-4, 9.9e-5, -9.9e-5, 0.0, 2.0]], dtype=F64)
    kept = orders_of(given, torch.full((6,), 1e-4, dtype=F64))
    assert kept.tolist() == [[1e-4, -1e-4, 0.0, 0.0, 0.0, 2.0]]
