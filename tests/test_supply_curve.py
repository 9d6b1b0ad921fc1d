"""Net supply curves, dispatch and firming of random offers: nothing lost, nothing beyond them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gridbazaar.envs.devices.fleet import Fleet, seat_power
from gridbazaar.envs.devices.storage import Storage
from gridbazaar.envs.dispatch import dispatch
from gridbazaar.envs.firming import firm_community, firm_own, headroom
from gridbazaar.envs.markets.book import cross, fill
from gridbazaar.envs.pool import PoolPrices, pool
from gridbazaar.envs.supply_curve import Offer, OrderSlots, SupplyCurve, supply_curve

B, N, CHARGE = 64, 5, 0.05
F64 = torch.float64


def fleet(units: int) -> Fleet:
    """Return one with some units, the first seat without any."""
    of = torch.ones(units, dtype=F64)
    owner = torch.arange(units) % (N - 1) + 1
    return Fleet.of({"storage": Storage(owner, of, of, of, of, 0.25, of * 0, of, of)}, N)


def draw(devices: Fleet, seed: int) -> SupplyCurve:
    """Return curves of seats whose prices and powers are often equal or zero."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(B, *shape, generator=generator, dtype=F64)

    there = (devices.rated_kw > 0).to(F64)
    K = devices.slots
    bid = (uniform(N, K) * 4).round() / 10
    power = ((uniform(2, N, K) * 3).round() * there).unbind(1)
    ask = bid + (uniform(N, K) * 2).round() / 10
    offer = Offer(*power, bid, ask, margin=(uniform(N, K) * 2).round() / 20)
    return supply_curve((uniform(N) * 8 - 4).round(), (uniform(N) * 4).round() / 10, offer)


def parts(curve: SupplyCurve) -> tuple[Tensor, Tensor]:
    """Return what devices offered in all to take and to give, [B, N, K]."""
    return curve.take_kw + curve.own_kw.clamp(min=0), curve.give_kw - curve.own_kw.clamp(max=0)


@pytest.mark.parametrize("units", [0, 4, 9])
def test_every_kw_is_in_one_piece_and_no_seat_beats_itself(units):
    devices = fleet(units)
    slots, curve = OrderSlots(devices, torch.ones(N, dtype=torch.bool)), draw(devices, 1)
    torch.testing.assert_close(curve.rest_kw + curve.own_kw.sum(-1), curve.must_run_kw)
    assert (curve.rest_kw * curve.must_run_kw >= 0).all()
    assert (curve.own_kw.sum(-1) * curve.must_run_kw >= 0).all()
    assert min(curve.take_kw.min(), curve.give_kw.min()) >= 0
    quantity_kw, _ = slots.orders(curve, torch.full((B, 1), CHARGE, dtype=F64))
    gives = curve.give_kw.sum(-1) - curve.take_kw.sum(-1)
    torch.testing.assert_close(slots.owners.total(quantity_kw), curve.must_run_kw + gives)
    torch.testing.assert_close(slots.laid(slots.pieces(quantity_kw)), quantity_kw)
    # A seat's must-run and its devices never have a better deal left than each other.
    seller = torch.where(curve.rest_kw > 0, curve.valuation, torch.inf).unsqueeze(-1)
    buyer = torch.where(curve.rest_kw < 0, curve.valuation, -torch.inf).unsqueeze(-1)
    assert (curve.bid <= seller)[curve.take_kw > 0].all()
    assert (curve.ask >= buyer)[curve.give_kw > 0].all()
    better = curve.bid.unsqueeze(-1) > curve.ask.unsqueeze(-2)
    both = (curve.take_kw > 0).unsqueeze(-1) & (curve.give_kw > 0).unsqueeze(-2)
    assert not (better & both).any()


def test_what_a_device_takes_from_another_of_its_seat_is_matched_one_by_one():
    """An independent loop: the must-run first, then the highest bid with the lowest ask."""
    devices = fleet(12)
    generator = torch.Generator().manual_seed(5)
    shape, passed_on = (B, N, devices.slots), 0.0

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=F64)

    take, give, bid = uniform(*shape), uniform(*shape), uniform(*shape)
    ask, must_run = bid + uniform(*shape) / 3, uniform(B, N) * 2 - 1
    valuation = torch.full_like(must_run, 0.5)
    curve = supply_curve(must_run, valuation, Offer(take, give, bid, ask, margin=0 * bid))
    for b in range(B):
        for n in range(N):
            takes = [[bid[b, n, k].item(), take[b, n, k].item(), k] for k in range(shape[2])]
            gives = [[ask[b, n, k].item(), give[b, n, k].item(), k] for k in range(shape[2])]
            net = must_run[b, n].item()
            (gives if net > 0 else takes).append([0.5, abs(net), -1])
            own, known = [0.0] * shape[2], 0.0
            takes.sort(reverse=True)
            gives.sort()
            # The seat's own net goes before its devices.
            for pairs in (
                [(t, g) for t in takes for g in gives if -1 in (t[2], g[2])],
                [(t, g) for t in takes for g in gives if -1 not in (t[2], g[2])],
            ):
                for t, g in pairs:
                    kw = min(t[1], g[1]) if t[0] > g[0] else 0.0
                    t[1], g[1] = t[1] - kw, g[1] - kw
                    for k, sign in ((t[2], 1), (g[2], -1)):
                        if k >= 0:
                            own[k] += sign * kw
                    known += kw * (-1 not in (t[2], g[2]))
            torch.testing.assert_close(curve.own_kw[b, n], torch.tensor(own, dtype=F64))
            passed_on += known
    assert passed_on > 10


@pytest.mark.parametrize("units", [4, 9])
def test_a_margin_is_asked_of_neighbours_alone(units):
    """Own use and what the grid's price accepts are those of a seat that asks for none."""
    devices = fleet(units)
    slots, curve = OrderSlots(devices, torch.ones(N, dtype=torch.bool)), draw(devices, 4)
    charge = torch.full((B, 1), CHARGE, dtype=F64)
    plain = curve._replace(margin=torch.zeros_like(curve.margin))
    (quantity_kw, price), (same_kw, lower) = (slots.orders(c, charge) for c in (curve, plain))
    torch.testing.assert_close(quantity_kw, same_kw, rtol=0, atol=0)
    more = slots.pieces(torch.where(quantity_kw < 0, lower - price, price - lower))
    for asked, margin, kw in (
        (more.own, 0 * curve.margin, curve.own_kw),
        (more.take, curve.margin, curve.take_kw),
        (more.give, curve.margin, curve.give_kw),
    ):
        torch.testing.assert_close(asked[kw != 0], margin[kw != 0])
    late = slots.pieces(torch.zeros_like(quantity_kw))
    must = torch.zeros_like(curve.bid)
    runs, runs_plain = (dispatch(c, late, must, charge * 7, charge * 2) for c in (curve, plain))
    torch.testing.assert_close(runs, runs_plain, rtol=0, atol=0)


@pytest.mark.parametrize("units", [4, 9])
def test_devices_stay_within_their_offers_and_pools_lose_nothing(units):
    devices = fleet(units)
    slots, curve = OrderSlots(devices, torch.ones(N, dtype=torch.bool)), draw(devices, 2)
    charge = torch.full((B, 1), CHARGE, dtype=F64)
    quantity_kw, price = slots.orders(curve, charge)
    cleared = slots.pieces(fill(quantity_kw, price, cross(quantity_kw, price)))
    retail, feed_in = torch.full_like(charge, 0.35), torch.full_like(charge, 0.1)
    must = torch.zeros_like(curve.bid)
    power = dispatch(curve, cleared, must, retail, feed_in)
    take, give = parts(curve)

    def within(device_kw: Tensor) -> bool:
        return bool(((device_kw >= -take - 1e-9) & (device_kw <= give + 1e-9)).all())

    assert within(power)
    prices = PoolPrices(torch.full_like(charge, 0.15), torch.full_like(charge, 0.25))
    deviation = torch.randn(B, N, generator=torch.Generator().manual_seed(3), dtype=F64)
    own = firm_own(curve, headroom(curve, power, must), deviation, prices)
    assert within(power + own)
    left = deviation + seat_power(own)
    assert (left * deviation >= -1e-12).all()
    assert (left.abs() <= deviation.abs() + 1e-12).all()
    room = headroom(curve, power + own, must)
    everybody = torch.ones(N, dtype=F64)
    firmed = firm_community(curve, room, left, prices, charge, devices, everybody)
    assert within(power + own + firmed)
    net, made = left.sum(-1), firmed.sum((-1, -2))
    assert (net * made <= 1e-12).all()
    assert (made.abs() <= net.abs() + 1e-9).all()
    assert (made.abs() > 0.1).any()

    firmed_kw = seat_power(firmed)
    pooled = pool(left, firmed_kw, prices, 0.25)
    account = -(pooled.payment_eur + pooled.firming_eur).sum(-1)
    assert account.min() >= -1e-12
    torch.testing.assert_close(pooled.left_kw.sum(-1), (left + firmed_kw).sum(-1))
    # Nobody does better in the pool than its price, nor worse than the grid's.
    worst = (left.clamp(min=0) * feed_in + left.clamp(max=0) * retail) * 0.25
    grid = (pooled.left_kw.clamp(min=0) * feed_in + pooled.left_kw.clamp(max=0) * retail) * 0.25
    idle = firmed_kw == 0
    assert (pooled.payment_eur + grid >= worst - 1e-12)[idle].all()
