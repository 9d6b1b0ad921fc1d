"""Quartierstrom's auction: bids that bear the tariff of the way, against a clearing by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_market_network import alike, book, clear, place_on

from gridbazaar.envs.markets import Orders

F64 = torch.float64


def by_hand(asks, bids, tariff, k):
    """Trade pair by pair, the widest margin first; return kW and money of sellers and buyers.

    The market takes margins within a millionth of the spread for equal, and so may pay by as much
    less.
    """
    left = {**{("s", i): kw for i, (kw, _) in enumerate(asks)}}
    left |= {("b", j): kw for j, (kw, _) in enumerate(bids)}
    margins = sorted(
        (ask - bid + tariff[i][j], i, j)
        for i, (_, ask) in enumerate(asks)
        for j, (_, bid) in enumerate(bids)
        if bid - tariff[i][j] >= ask
    )
    sold, bought = [0.0] * len(asks), [0.0] * len(bids)
    earned, paid = [0.0] * len(asks), [0.0] * len(bids)
    for less, i, j in margins:
        kw = min(left["s", i], left["b", j])
        left["s", i] -= kw
        left["b", j] -= kw
        price = asks[i][1] - k * less
        sold[i], bought[j] = sold[i] + kw, bought[j] + kw
        earned[i], paid[j] = earned[i] + kw * price, paid[j] + kw * (price + tariff[i][j])
    return sold, bought, earned, paid


@pytest.mark.parametrize("measure", ["distance", "section"])
@pytest.mark.parametrize("k", [0.0, 0.5])
def test_trades_are_those_of_a_clearing_by_hand(measure, k):
    place, orders = place_on("semiurb4", 8), book(8, 5.0, seed=3)
    fixed = {"usage_price": 0.08, "dynamic": 0.0, "measure": measure, "inside": 0.4, "k": k}
    out = clear("quartierstrom_auction", orders, place, **fixed)
    share = place.distance / place.distance.max()
    reach = share if measure == "distance" else torch.where(share > 0.25, 1.0, 0.4)
    tariff = 0.08 * reach
    for b in range(8):
        kw, limit = orders.quantity_kw[b], orders.limit_price[b]
        s, d = (kw > 0).nonzero()[:, 0], (kw < 0).nonzero()[:, 0]
        asks = list(zip(kw[s].tolist(), limit[s].tolist(), strict=True))
        bids = list(zip((-kw[d]).tolist(), limit[d].tolist(), strict=True))
        sold, bought, earned, paid = by_hand(asks, bids, tariff[s][:, d].tolist(), k)
        assert sum(sold) > 0
        assert out.cleared_kw[b, s].tolist() == pytest.approx(sold, abs=1e-6)
        assert out.cleared_kw[b, d].tolist() == pytest.approx([-kw for kw in bought], abs=1e-6)
        assert out.payment_eur[b, s].tolist() == pytest.approx([x / 4 for x in earned], abs=1e-6)
        assert out.payment_eur[b, d].tolist() == pytest.approx([-x / 4 for x in paid], abs=1e-6)


def test_without_a_tariff_it_is_the_discriminatory_auction():
    place, orders = place_on("semiurb4", 8), book(8, 5.0)
    free = clear("quartierstrom_auction", orders, place, usage_price=0.0)
    alike(free, clear("pay_as_bid", orders, place, k=0.5))
    alike(clear("quartierstrom_auction", orders, None), clear("pay_as_bid", orders, None, k=0.5))


def test_a_bid_that_bears_the_reduced_tariff_alone_buys_inside_its_section():
    place = place_on("semiurb4", 1)
    spot = torch.tensor([0.0, 1.0, 10.0], dtype=F64)
    three = replace(
        place, distance=(spot[:, None] - spot).abs(), to_bus=place.to_bus[:3], green=place.green[:3]
    )
    orders = Orders(
        torch.tensor([[2.0, -1.0, -1.0]], dtype=F64),
        torch.tensor([[0.10, 0.15, 0.15]], dtype=F64),
        torch.zeros(1, 3, dtype=F64),
    )
    fixed = {"usage_price": 0.06, "dynamic": 0.0, "measure": "section", "inside": 0.5}
    out = clear("quartierstrom_auction", orders, three, **fixed)
    assert out.cleared_kw[0].tolist() == pytest.approx([1, -1, 0])
    assert out.price[0].tolist() == pytest.approx([0.11, 0.14, 0])
    assert out.operator_surplus_eur.item() == pytest.approx(0.03 * 0.25)
    # The farther buyer comes first once its margin is wider, where the nearest pair would not wait.
    eager = replace(orders, limit_price=torch.tensor([[0.10, 0.15, 0.20]], dtype=F64))
    scarce = replace(eager, quantity_kw=torch.tensor([[1.0, -1.0, -1.0]], dtype=F64))
    assert clear("quartierstrom_auction", scarce, three, **fixed).cleared_kw[0].tolist() == [
        1,
        0,
        -1,
    ]
