"""The worked example of docs/interval.md: a home, a consumer, a car and a community battery."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gridbazaar.configs import option
from gridbazaar.envs.build import make_market
from gridbazaar.envs.devices.fleet import Fleet, seat_power
from gridbazaar.envs.devices.storage import Storage
from gridbazaar.envs.dispatch import dispatch
from gridbazaar.envs.firming import firm_community, firm_own, headroom
from gridbazaar.envs.markets import Clearing, Context, Orders
from gridbazaar.envs.pool import pool_prices
from gridbazaar.envs.prices import Tariff
from gridbazaar.envs.settlement import Bill, Traded, settle
from gridbazaar.envs.supply_curve import Offer, OrderSlots, SupplyCurve, supply_curve

F64, H = torch.float64, 0.25
RETAIL, FEED_IN, CHARGE = 0.37, 0.08, 0.044
HOME, CONSUMER, CAR, STORAGE = range(4)


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=F64)


def of(value: float, *seats: int) -> Tensor:
    """Return a device's value [N, 1] in some seats and zero elsewhere."""
    return torch.zeros(4, 1, dtype=F64).index_fill(0, torch.tensor(seats), value)


TARIFF = Tariff(row(RETAIL), row(FEED_IN), row(CHARGE))
# Worth 0.20 EUR per stored kWh, 95 % each way, 0.05 EUR wear per kWh given.
BID, ASK = 0.19, 0.20 / 0.95 + 0.05
BATTERY = Storage(
    seat=torch.tensor([HOME, STORAGE]),
    import_kw=row(5, 5)[0],
    export_kw=row(5, 5)[0],
    efficiency=row(0.95, 0.95)[0],
    wear_price=row(0.05, 0.05)[0],
    slot_h=H,
    floor=row(0, 0)[0],
    ceiling=row(1, 1)[0],
    capacity_kwh=row(10, 10)[0],
)
FLEET = Fleet.of({"storage": BATTERY}, 4)
SLOTS = OrderSlots(FLEET, torch.tensor([True, False, False, False]))
# 3 kW of PV less 1 kW of load; 2 kW of load; a car that must charge 3.7 kW; nothing.
MUST_RUN = row(2, -2, -3.7, 0)
VALUATION = row(FEED_IN, RETAIL, RETAIL, FEED_IN)
MUST = of(-3.7, CAR)[None]
OFFER = Offer(
    take_kw=of(5, HOME, STORAGE)[None],
    give_kw=of(5, HOME, STORAGE)[None],
    bid=of(BID, HOME, STORAGE)[None],
    ask=of(ASK, HOME, STORAGE)[None],
    margin=of(0, HOME, STORAGE)[None],
)
CURVE = supply_curve(MUST_RUN, VALUATION, OFFER)


def cleared(market: str) -> tuple[SupplyCurve, Clearing]:
    quantity_kw, price = SLOTS.orders(CURVE, TARIFF.local_charge)
    context = Context(TARIFF.retail - TARIFF.local_charge, TARIFF.feed_in, H)
    orders = Orders(quantity_kw, price, torch.arange(10, dtype=F64)[None], SLOTS.owners)
    return CURVE, make_market(option("market", market)).clear(orders, context)


def devices_kw(clearing: Clearing) -> Tensor:
    """Return what the devices do, [1, 4, 1]."""
    pieces = SLOTS.pieces(clearing.cleared_kw)
    return dispatch(CURVE, pieces, MUST, TARIFF.retail, TARIFF.feed_in)


def billed(clearing: Clearing, net_kw: Tensor, firmed_kw: Tensor | None = None) -> Bill:
    base_kw = MUST_RUN - seat_power(MUST)
    traded = Traded(
        cleared_kw=SLOTS.owners.total(clearing.cleared_kw),
        payment_eur=SLOTS.owners.total(clearing.payment_eur),
        position_kw=base_kw + seat_power(devices_kw(clearing)),
        firmed_kw=torch.zeros(1, 4, dtype=F64) if firmed_kw is None else firmed_kw,
        net_kw=net_kw,
    )
    prices = pool_prices(clearing.reference_price, TARIFF)
    return settle(traded, torch.zeros(1, 4, dtype=F64), TARIFF, prices, 0.0, H)


def test_the_home_offers_its_surplus_at_what_its_battery_would_store_it_for():
    quantity_kw, price = SLOTS.orders(CURVE, TARIFF.local_charge)
    expected = [
        (HOME, 0, FEED_IN),
        (CONSUMER, -2, RETAIL - CHARGE),
        (CAR, -3.7, RETAIL - CHARGE),
        (STORAGE, 0, FEED_IN),
        (HOME, 2, BID),  # own use: stored if nobody pays that much
        (STORAGE, 0, BID),
        (HOME, -3, BID - CHARGE),
        (STORAGE, -5, BID - CHARGE),
        (HOME, 5, ASK),
        (STORAGE, 5, ASK),
    ]
    assert SLOTS.owners.seat.tolist() == [seat for seat, *_ in expected]
    torch.testing.assert_close(quantity_kw, row(*(kw for _, kw, _ in expected)))
    torch.testing.assert_close(price, row(*(eur for *_, eur in expected)))


def test_the_uniform_auction_runs_both_batteries_for_the_neighbours():
    _, clearing = cleared("uniform_auction")
    assert clearing.volume_kw.item() == pytest.approx(5.7)
    price = (ASK + RETAIL - CHARGE) / 2
    assert clearing.reference_price.item() == pytest.approx(price)
    # The home sells its sun and shares the rest with the community's battery.
    torch.testing.assert_close(devices_kw(clearing)[..., 0], row(1.85, 0, -3.7, 1.85))
    net_kw = row(3.85, -2, -3.7, 1.85)
    bill = billed(clearing, net_kw)
    torch.testing.assert_close(bill.trade, net_kw * price * H)
    torch.testing.assert_close(bill.network, net_kw.clamp(max=0) * CHARGE * H)
    assert bill.grid.abs().max() < 1e-12
    assert bill.pool.abs().max() < 1e-12


def test_deviations_are_met_by_the_own_device_first_and_then_by_all_in_merit_order():
    """0.5 kW less sun at home and 0.2 kW more load at the consumer's."""
    _, clearing = cleared("uniform_auction")
    prices = pool_prices(clearing.reference_price, TARIFF)
    assert prices.short.item() == pytest.approx((ASK + RETAIL - CHARGE) / 2)
    assert prices.long.item() == pytest.approx((FEED_IN + RETAIL) / 2)
    power, deviation = devices_kw(clearing), row(-0.5, -0.2, 0, 0)
    own = firm_own(CURVE, headroom(CURVE, power, MUST), deviation, prices)
    torch.testing.assert_close(own[..., 0], row(0.5, 0, 0, 0))
    room = headroom(CURVE, power + own, MUST)
    firmed = firm_community(
        CURVE,
        room,
        deviation + seat_power(own),
        prices,
        TARIFF.local_charge,
        FLEET,
        torch.ones(4, dtype=F64),
    )
    # Equal asks share by what each could still give, 2.65 and 3.15 kW.
    shared = row(0.2 * 2.65 / 5.8, 0, 0, 0.2 * 3.15 / 5.8)
    torch.testing.assert_close(firmed[..., 0], shared)
    net_kw = row(3.85, -2.2, -3.7, 1.85) + shared
    bill = billed(clearing, net_kw, shared)
    torch.testing.assert_close(bill.pool, row(0, -0.2, 0, 0) * prices.short * H)
    torch.testing.assert_close(bill.firming, shared * prices.short * H)
    torch.testing.assert_close(bill.network, net_kw.clamp(max=0) * CHARGE * H)
    assert bill.accounts["pool"].abs().max() < 1e-12


def test_without_firming_the_pool_nets_and_the_grid_meets_the_rest():
    """0.5 kW less sun at home, 0.2 kW less load at the consumer's."""
    _, clearing = cleared("uniform_auction")
    prices = pool_prices(clearing.reference_price, TARIFF)
    bill = billed(clearing, row(3.35, -1.8, -3.7, 1.85))
    met = row(-0.2 * prices.short.item(), 0.2 * prices.long.item(), 0, 0) * H
    torch.testing.assert_close(bill.pool, met)
    torch.testing.assert_close(bill.grid, row(-0.3 * RETAIL, 0, 0, 0) * H)
    assert bill.accounts["pool"].item() == pytest.approx(
        0.2 * (prices.short - prices.long).item() * H
    )


def test_a_late_home_stores_its_sun_and_buys_nothing_from_the_grid():
    _, clearing = cleared("uniform_auction")
    nothing = Clearing(
        *(torch.zeros(1, 10, dtype=F64) for _ in range(3)),
        torch.full((1,), torch.nan, dtype=F64),
        clearing.converged,
    )
    torch.testing.assert_close(devices_kw(nothing)[..., 0], row(-2, 0, -3.7, 0))
    bill = billed(nothing, row(0, -2, -3.7, 0))
    torch.testing.assert_close(bill.total, row(0, -2 * RETAIL, -3.7 * RETAIL, 0) * H)


def test_what_the_grid_would_pay_or_take_runs_uncleared():
    offer = OFFER._replace(
        bid=of(RETAIL, HOME)[None] + of(BID, STORAGE)[None],
        ask=of(0.5, HOME)[None] + of(FEED_IN, STORAGE)[None],
    )
    curve = supply_curve(MUST_RUN, VALUATION, offer)
    nothing = SLOTS.pieces(torch.zeros(1, 10, dtype=F64))
    power = dispatch(curve, nothing, MUST, TARIFF.retail, TARIFF.feed_in)
    torch.testing.assert_close(power[..., 0], row(-5, 0, -3.7, 5))
