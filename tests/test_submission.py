"""Orders as they are sent: leftovers of rounding are none, in any precision and for any bidder."""

from __future__ import annotations

import pytest
import torch
from conftest import play

from gridbazaar.agents.bidders import BIDDERS, make
from gridbazaar.envs.submission import least_order_kw, orders_of

F32, F64 = torch.float32, torch.float64


@torch.no_grad()
def sent(simulation, bidder, slots):
    """Return what a bidder's seats sent, [slots, B, N] kW."""
    bidder, state = make(bidder, simulation.game), None

    def act(observation):
        nonlocal state
        action, state = bidder.act(observation, state)
        return action

    return torch.stack([i.sent_kw for i in play(simulation, act, seed=3, slots=slots)])


@pytest.mark.parametrize("bidder", BIDDERS.names())
def test_no_bidder_sends_less_than_the_least_order_and_precision_decides_on_none(town, bidder):
    fine, coarse = (town.simulation(ledger="block", dtype=dtype) for dtype in (F64, F32))
    least = least_order_kw(fine.community)
    in_double, in_single = sent(fine, bidder, 48), sent(coarse, bidder, 48)
    for quantity in (in_double, in_single):
        assert not ((quantity != 0) & (quantity.abs() < least)).any()
    assert (in_double != 0).sum() > 0
    assert torch.equal(in_double != 0, in_single != 0)


def test_leftovers_are_not_sent_not_charged_and_not_counted(town):
    """A home's battery leaves half of the least order: its seat is as one that orders nothing."""
    sim = town.simulation(ledger="block")
    least = least_order_kw(sim.community)
    observation = sim.reset(seed=5)
    need = sim.game.layout.read(observation, "forecast_load") - sim.game.layout.read(
        observation, "forecast_pv"
    )
    rated = sim.fleet.rated_kw[..., 0]
    stored = sim.game.layout.read(observation, "energy_kwh")
    able = (need > 0.01) & (rated > need) & (stored > need)
    seat = int(able.all(0).nonzero()[0, 0])

    def interval_with(left_kw):
        sim.reset(seed=5)
        action = torch.zeros(*observation.shape[:2], 3, dtype=F64)
        action[:, seat, 1] = ((need + left_kw) / rated)[:, seat]
        return sim.step(action)

    some, none = interval_with(2 * least), interval_with(least / 2)
    assert (some.sent_kw[:, seat] > 0).all()
    assert (some.receipts.fee[:, seat] > 0).all()
    assert (none.sent_kw[:, seat] == 0).all()
    assert (none.orders.quantity_kw[:, seat] == 0).all()
    assert (none.receipts.fee[:, seat] == 0).all()
    assert not none.receipts.included[:, seat].any()
    others = torch.arange(observation.shape[1]) != seat
    assert torch.equal(some.sent_kw[:, others], none.sent_kw[:, others])
    # The device does what it was told all the same.
    assert (none.device_kw["storage"].abs().sum(-1) > 0).all()


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
