"""Who pays whom: every party's account, promises kept and broken, and intervals that were lost."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gridbazaar.envs.markets import Clearing
from gridbazaar.envs.reward import reward
from gridbazaar.envs.settlement import Tariff, broken_commitment_kw, settle

H = 0.25
F64 = torch.float64


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=F64)


TARIFF = Tariff(row(0.3), row(0.1), row(0.05))


def clearing(cleared: torch.Tensor, price: float) -> Clearing:
    return Clearing(
        cleared,
        price * (cleared != 0),
        cleared * price * H,
        torch.full((1,), price, dtype=F64),
        torch.ones(1, dtype=torch.bool),
    )


def bill(cleared, net, reverted=False, price=0.2, fee=0.0):
    fees = torch.full_like(cleared, fee)
    return settle(clearing(cleared, price), net, fees, TARIFF, 0.5, torch.tensor([reverted]), H)


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


def test_a_lost_interval_falls_back_on_the_grid_and_still_pays_its_fee():
    lost, alone = bill(row(4, -4), row(4, -5), True, fee=0.01), bill(row(0, 0), row(4, -5))
    assert torch.allclose(lost.total, alone.total - 0.01)
    assert lost.penalty.abs().sum() == lost.trade.abs().sum() == lost.network.abs().sum() == 0


@settings(deadline=None, max_examples=40)
@given(
    cleared=st.lists(st.floats(-50, 50), min_size=3, max_size=3),
    net=st.lists(st.floats(-50, 50), min_size=3, max_size=3),
    reverted=st.booleans(),
)
def test_all_accounts_sum_to_zero_and_penalties_are_never_income(cleared, net, reverted):
    out = bill(row(*cleared), row(*net), reverted, fee=0.003)
    assert abs(sum(account.item() for account in out.accounts.values())) < 1e-9
    assert out.penalty.max() <= 0
    assert out.network.max() <= 0


def test_the_reward_is_its_parts_and_violations_are_shared_by_power():
    money = bill(row(4, -4), row(4, -12), fee=0.01)
    out = reward(
        money,
        row(2 * 0.05, 0),
        row(0, 3),
        2.0,
        torch.tensor([8.0], dtype=F64),
        row(4, -12),
        row(0.5, 0),
    )
    assert torch.allclose(out.violation, row(-2, -6))
    assert torch.allclose(out.wear, row(-0.1, 0))
    assert torch.allclose(out.unserved, row(0, -6))
    assert torch.allclose(out.total, money.total + row(-0.1 - 2 + 0.5, -6 - 6))
