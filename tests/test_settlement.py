"""Who pays whom: every party's account, promises kept and broken, and intervals that were lost."""

from __future__ import annotations

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gridbazaar.envs.compensation import compensate
from gridbazaar.envs.devices.fleet import DeviceUse
from gridbazaar.envs.pool import PoolPrices, pool_prices
from gridbazaar.envs.prices import Tariff
from gridbazaar.envs.reward import reward
from gridbazaar.envs.settlement import Traded, broken_commitment_kw, imbalance_eur, settle

H = 0.25
F64 = torch.float64


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=F64)


TARIFF = Tariff(row(0.3), row(0.1), row(0.05))
POOL = PoolPrices(row(0.15), row(0.2))


def bill(cleared, net, position=None, firmed=None, pool=None, reverted=False, price=0.2, fee=0.0):
    """Bill at one price; positions are what was cleared, and no seat firms, unless said."""
    traded = Traded(
        cleared_kw=cleared,
        payment_eur=cleared * price * H,
        position_kw=cleared if position is None else position,
        firmed_kw=torch.zeros_like(cleared) if firmed is None else firmed,
        net_kw=net,
    ).standing(torch.tensor([reverted]))
    return settle(traded, torch.zeros_like(cleared) + fee, TARIFF, pool, 0.5, H)


def test_the_grid_alone_pays_feed_in_and_charges_retail():
    out = bill(row(0, 0), row(4, -8))
    assert torch.allclose(out.total, row(0.1, -0.6))
    assert out.trade.abs().sum() == out.penalty.abs().sum() == out.network.abs().sum() == 0


def test_a_kept_promise_costs_the_price_and_the_buyers_network_charge():
    out = bill(row(4, -4), row(4, -4))
    assert torch.allclose(out.total, row(0.2, -0.25))
    assert out.penalty.abs().sum() == 0
    assert out.grid.abs().sum() == 0


def test_a_broken_promise_costs_its_penalty_and_the_grid_stands_in():
    out = bill(row(4, -4), row(1, -4))
    assert torch.allclose(out.grid, row(-3 * 0.3 * H, 0))
    assert torch.allclose(out.penalty, row(-3 * 0.5 * H, 0))
    taken_less = bill(row(4, -4), row(4, -1))
    assert torch.allclose(taken_less.grid, row(0, 3 * 0.1 * H))
    assert torch.allclose(taken_less.penalty, row(0, -3 * 0.5 * H))


def test_more_than_promised_is_no_breach():
    out = bill(row(4, -4), row(6, -7))
    assert out.penalty.abs().sum() == 0
    assert torch.allclose(out.grid, row(2 * 0.1 * H, -3 * 0.3 * H))


def test_flowing_the_wrong_way_breaks_all_that_was_promised_and_no_more():
    assert broken_commitment_kw(row(4, -4), row(-2, 2)).tolist() == [[4, 4]]


def test_deviations_meet_each_other_first_and_the_longer_sides_rest_the_grid():
    """3 kW too much meet 1 and 1 kW too little: a third of each long kWh goes to the grid."""
    out = bill(row(4, -2, -2, 0), row(7, -3, -3, 0), pool=POOL)
    assert torch.allclose(out.pool, row(2 * 0.15, -0.2, -0.2, 0) * H)
    assert torch.allclose(out.grid, row(0.1, 0, 0, 0) * H)
    assert torch.allclose(out.accounts["pool"], row(2 * 0.05)[0] * H)
    assert torch.allclose(out.network, row(0, -3, -3, 0) * 0.05 * H)
    assert out.penalty.abs().sum() == 0


def test_who_firms_is_paid_the_pools_price_and_the_pool_keeps_nothing_of_it():
    short = bill(row(4, -4, 0), row(4, -5, 1), firmed=row(0, 0, 1), pool=POOL)
    assert torch.allclose(short.firming, row(0, 0, 0.2) * H)
    assert torch.allclose(short.pool, row(0, -0.2, 0) * H)
    long = bill(row(4, -4, 0), row(5, -4, -1), firmed=row(0, 0, -1), pool=POOL)
    assert torch.allclose(long.firming, row(0, 0, -0.15) * H)
    assert torch.allclose(long.pool, row(0.15, 0, 0) * H)
    assert short.grid.abs().max() < 1e-12
    assert long.accounts["pool"].abs().max() < 1e-12
    assert torch.allclose(long.network, row(0, -4, -1) * 0.05 * H)


def test_energy_of_the_grid_and_own_use_bear_no_local_charge():
    """A position of 5 kW from the grid, of which a device covered 2, and 1 kW from a neighbour."""
    out = bill(row(-1, 1), row(-4, 1), position=row(-6, 1), pool=POOL)
    assert torch.allclose(out.network, row(-1, 0) * 0.05 * H)


def test_the_pools_prices_lie_on_either_side_of_what_deviations_are_worth():
    reference = torch.tensor([0.12, 0.22, torch.nan, 0.5], dtype=F64)
    tariff = Tariff(*(each.expand(4, 1) for each in (TARIFF.retail, TARIFF.feed_in, row(0.05))))
    prices = pool_prices(reference, tariff)
    assert torch.allclose(prices.long, row(0.12, 0.2, 0.2, 0.2).T)
    assert torch.allclose(prices.short, row(0.2, 0.22, 0.2, 0.25).T)


def test_a_lost_interval_falls_back_on_the_grid_and_still_pays_its_fee():
    alone = bill(row(0, 0), row(4, -5))
    for pool in (None, POOL):
        lost = bill(row(4, -4), row(4, -5), pool=pool, reverted=True, fee=0.01)
        assert torch.allclose(lost.total, alone.total - 0.01)
        assert lost.penalty.abs().sum() == lost.trade.abs().sum() == lost.network.abs().sum() == 0


THREE = st.lists(st.floats(-50, 50), min_size=3, max_size=3)


@settings(deadline=None, max_examples=60)
@given(cleared=THREE, net=THREE, position=THREE, firmed=THREE, pooled=st.booleans())
@example(
    cleared=[0.0] * 3,
    net=[0.0, 1.0, -(2.0**-24)],
    position=[0.0] * 3,
    firmed=[0.0] * 3,
    pooled=True,
)
def test_all_accounts_sum_to_zero_and_the_pool_never_loses(cleared, net, position, firmed, pooled):
    # Seats firm in one direction, whatever they deviate.
    firmed = row(*firmed).abs() if sum(firmed) > 0 else -row(*firmed).abs()
    out = bill(
        row(*cleared),
        row(*net),
        row(*position),
        firmed if pooled else None,
        POOL if pooled else None,
        fee=0.003,
    )
    assert abs(sum(account.item() for account in out.accounts.values())) < 1e-9
    assert out.penalty.max() <= 0
    assert out.network.max() <= 0
    assert out.accounts["pool"].item() >= -1e-9


def test_the_reward_is_its_parts_and_violations_are_shared_by_power():
    money = bill(row(4, -4), row(4, -12), fee=0.01)
    none = torch.zeros(1, 2, dtype=F64)
    used = DeviceUse(
        energy_kwh=none,
        unserved_kwh=row(0, 3),
        wear_eur=row(0.1, 0),
        stored_eur=row(0.5, 0),
        device_kw={},
        content_kwh={},
    )
    out = reward(money, used, 2.0, torch.tensor([8.0], dtype=F64), row(4, -12))
    assert torch.allclose(out.violation, row(-2, -6))
    assert torch.allclose(out.wear, row(-0.1, 0))
    assert torch.allclose(out.unserved, row(0, -6))
    assert torch.allclose(out.total, money.total + row(-0.1 - 2 + 0.5, -6 - 6))


def test_compensation_comes_from_the_gains_in_proportion():
    """Gains of 0.1, 0.05 and -0.06 EUR against the grid: two thirds and a third of 0.06 move."""
    before = bill(row(4, -4, 0), row(4, -4, 0), fee=row(0, 0, 0.06))
    alone = imbalance_eur(row(4, -4, 0), TARIFF, H)
    torch.testing.assert_close(before.total - alone, row(0.1, 0.05, -0.06))
    after = compensate(before, row(4, -4, 0), TARIFF, H)
    torch.testing.assert_close(after.compensation, row(-0.04, -0.02, 0.06))
    torch.testing.assert_close(after.total - alone, row(0.06, 0.03, 0))
    assert abs(sum(after.accounts.values()).item()) < 1e-12


def test_where_all_lose_together_gains_are_spent_pro_rata():
    before = bill(row(4, -4, 0), row(4, -4, 0), fee=row(0, 0.25, 0.2))
    after = compensate(before, row(4, -4, 0), TARIFF, H)
    gain = after.total - imbalance_eur(row(4, -4, 0), TARIFF, H)
    torch.testing.assert_close(gain, row(0, -0.15, -0.15))
    nobody = compensate(bill(row(0, 0), row(4, -4)), row(4, -4), TARIFF, H)
    assert nobody.compensation.abs().sum() == 0
