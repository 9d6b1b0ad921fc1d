"""Kelly's mechanism: equilibrium by deviations, efficiency by the bound and its worst case."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_markets import clear, order, random_book, welfare

SLOT_H = 0.25


def test_no_buyer_gains_by_bidding_other_money():
    """Free supply, so that shares are all that a bid decides."""
    draw = np.random.default_rng(0)
    tried = 0
    for _ in range(20):
        n = int(draw.integers(2, 7))
        size, limit = draw.uniform(1, 6, n), draw.uniform(0.1, 0.3, n)
        supply = draw.uniform(0.3, 0.9) * size.sum()
        book = order([[supply, *-size]], [[0.0, *limit]])
        out = clear("kelly", book)
        got, price = -out.cleared_kw[0, 1:].numpy(), out.reference_price.item()
        assert got.sum() == pytest.approx(supply)
        money = price * got
        for i in range(n):
            others = money.sum() - money[i]
            own = limit[i] * got[i] - money[i]
            for bid in np.linspace(0, 3, 61) * max(money[i], 0.05):
                share = bid / (bid + others) * supply if bid + others > 0 else 0.0
                assert limit[i] * min(share, size[i]) - bid <= own + 1e-9
                tried += 1
    assert tried > 3000


def test_the_buyers_utility_is_at_least_three_quarters_of_the_largest():
    orders = random_book(51, B=400, N=12)
    orders.limit_price[orders.quantity_kw > 0] = 0.0
    found = welfare(clear("kelly", orders).cleared_kw, orders)
    best = welfare(clear("uniform_auction", orders).cleared_kw, orders)
    share = found[best > 0] / best[best > 0]
    assert share.min() >= 0.75
    assert share.max() <= 1 + 1e-9
    # Less is lost the more buyers there are, and some where a few are large.
    assert 0.9 < share.mean() < 0.999


def test_a_buyer_among_many_of_half_its_worth_is_the_worst_case():
    """Johari and Tsitsiklis 2004: 3/4, approached as the others grow in number."""
    others = 400
    size = [[10.0, *[-10.0] * (others + 1)]]
    book = order(size, [[0.0, 0.3, *[0.15] * others]])
    found = welfare(clear("kelly", book).cleared_kw, book) / (0.3 * 10.0)
    assert 0.75 < found.item() < 0.752


def test_asks_are_a_reserve():
    """Two equal buyers hold back half; what they would not pay the reserve for stays unsold."""
    book = order([[4.0, -4.0, -4.0], [4.0, -4.0, -4.0]], [[0.10, 0.30, 0.30], [0.20, 0.30, 0.30]])
    out = clear("kelly", book)
    # 0.30 (1 - 1/2) = 0.15 clears; above a reserve of 0.20 each takes 4 (1 - 0.20/0.30).
    assert out.reference_price.tolist() == pytest.approx([0.15, 0.20])
    assert out.cleared_kw[0].tolist() == pytest.approx([4, -2, -2])
    assert out.cleared_kw[1].tolist() == pytest.approx([8 / 3, -4 / 3, -4 / 3])


def test_a_dearer_seller_comes_in_where_the_cheaper_one_is_short():
    book = order([[1.0, 5.0, -4.0, -4.0]], [[0.05, 0.12, 0.30, 0.30]])
    out = clear("kelly", book)
    # At 0.12 six kW are on offer, of which both would take 6 (1 - 0.12/0.30) = 3.6: all is sold.
    assert out.reference_price.item() == pytest.approx(0.15)
    assert out.cleared_kw[0].tolist() == pytest.approx([1, 5, -3, -3])


@pytest.mark.parametrize("most", [1, 3])
def test_prices_lie_between_those_of_the_dearest_seller_and_the_cheapest_buyer(most):
    orders = random_book(52, most=most)
    out = clear("kelly", orders)
    traded = out.volume_kw > 0
    assert traded.float().mean() > 0.8
    surplus = welfare(out.cleared_kw, orders)
    best = welfare(clear("uniform_auction", orders).cleared_kw, orders)
    assert (surplus <= best + 1e-9).all()
    assert surplus.sum() > 0.75 * best.sum()
    assert out.volume_kw.dtype is torch.float64
