"""Continuous auction whose orders are quoted anew within a session."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from reference import double_auction as slow
from test_market_seats import listed
from test_markets import F64, clear, random_book, welfare

from gridbazaar.envs.markets import Orders, Owners

LOW, HIGH = 0.08, 0.34  # the grid's prices in the tests' context
SESSION = {"quotes": 40, "opening": 0.6, "step": 0.05}


def one_each(orders: Orders) -> Orders:
    """Orders with owners for the slow clearing, at distinct times."""
    M = orders.quantity_kw.shape[1]
    arrival = orders.arrival_s + torch.arange(M, dtype=F64) * 1e-3
    return replace(orders, owners=Owners.of(torch.arange(M), M), arrival_s=arrival)


def played_by_hand(orders: Orders, b: int, quotes: int, opening: float, step: float):
    """Play a market's session round by round; return kW, EUR/h and how many new quotes."""
    book = listed(orders, b)
    quote = [
        limit + opening * ((HIGH if kw > 0 else LOW) - limit) if opening else limit
        for _, kw, limit in book
    ]
    left = [kw for _, kw, _ in book]
    cleared, money, sent = [0.0] * len(book), [0.0] * len(book), 0
    for turn in range(quotes):
        if turn:
            bids = [q for q, kw in zip(quote, left, strict=True) if kw < -1e-8]
            asks = [q for q, kw in zip(quote, left, strict=True) if kw > 1e-8]
            if not (bids and asks):
                break
            for i, (_, _, limit) in enumerate(book):
                old, move = quote[i], step * (HIGH - LOW)
                if left[i] > 1e-8:
                    quote[i] = min(old, max(old - move, max(bids), limit))
                if left[i] < -1e-8:
                    quote[i] = max(old, min(old + move, min(asks), limit))
                sent += quote[i] != old
        now = [(seat, kw, q) for (seat, _, _), kw, q in zip(book, left, quote, strict=True)]
        kw, paid = slow.continuous(now, orders.arrival_s[b].tolist())
        left = [a - c for a, c in zip(left, kw, strict=True)]
        cleared = [a + c for a, c in zip(cleared, kw, strict=True)]
        money = [a + c for a, c in zip(money, paid, strict=True)]
    return cleared, money, sent


@pytest.mark.parametrize("session", [SESSION, {"quotes": 3, "opening": 0.3, "step": 0.2}])
def test_a_session_is_played_by_hand(session):
    orders = one_each(random_book(20, B=24, N=10))
    out = clear("continuous", orders, **session)
    later = 0
    for b in range(24):
        cleared, money, sent = played_by_hand(orders, b, **session)
        assert out.cleared_kw[b].tolist() == pytest.approx(cleared, abs=1e-9)
        assert out.payment_eur[b].tolist() == pytest.approx([x / 4 for x in money], abs=1e-9)
        assert out.messages[b].item() == sent
        later += sent
    assert later > 24


@pytest.mark.parametrize("most", [1, 3])
def test_a_session_keeps_limits_and_leaves_no_orders_that_would_trade(most):
    orders = random_book(21, B=64, N=9, ties=True, most=most)
    out = clear("continuous", orders, **SESSION)
    assert out.cleared_kw.sum(-1).abs().max() < 1e-9
    assert out.operator_surplus_eur.abs().max() < 1e-9
    assert (out.cleared_kw.abs() <= orders.quantity_kw.abs() + 1e-9).all()
    assert ((out.price - orders.limit_price) * out.cleared_kw.sign()).min() >= -1e-9
    rest = orders.quantity_kw - out.cleared_kw
    ask = torch.where(rest > 1e-8, orders.limit_price, torch.inf).amin(-1)
    bid = torch.where(rest < -1e-8, orders.limit_price, -torch.inf).amax(-1)
    assert (ask > bid).all()


def test_without_an_opening_there_is_nothing_to_quote_anew():
    orders = random_book(22)
    once, session = clear("continuous", orders), clear("continuous", orders, quotes=9)
    for field in ("cleared_kw", "price", "payment_eur", "iterations", "messages"):
        assert torch.equal(getattr(once, field), getattr(session, field)), field
    shy = clear("continuous", orders, opening=1.0)
    assert shy.volume_kw.sum() == 0


def test_orders_that_hold_out_find_better_partners():
    """They meet by price before they meet by time, which is what a session is for."""
    orders = random_book(23, B=400, N=12)
    best = welfare(clear("uniform_auction", orders).cleared_kw, orders).sum()
    at_once, session = (
        welfare(clear("continuous", orders, **how).cleared_kw, orders).sum() / best
        for how in ({}, SESSION)
    )
    assert at_once < 0.9
    assert 0.98 < session <= 1 + 1e-9


def test_a_batch_is_its_sessions_side_by_side():
    orders = random_book(24, B=6)
    together = clear("continuous", orders, **SESSION)
    for b in range(6):
        rows = (orders.quantity_kw, orders.limit_price, orders.arrival_s)
        alone = clear("continuous", Orders(*[x[b : b + 1] for x in rows]), **SESSION)
        for field in ("cleared_kw", "payment_eur", "iterations", "messages"):
            torch.testing.assert_close(getattr(together, field)[b : b + 1], getattr(alone, field))
