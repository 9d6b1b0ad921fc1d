"""A book cleared on shares against the open one, and that against every price there is."""

import subprocess
import sys
from pathlib import Path

import pytest

from gridbazaar.studies.secure_clearing import Order, book, open_clearing

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("seed", range(5))
def test_the_open_book_trades_as_much_as_any_price_lets_it(seed):
    orders = book(17, seed)

    def volume(price):
        demand = sum(-o.quantity for o in orders if o.quantity < 0 and o.price >= price)
        return min(demand, sum(o.quantity for o in orders if o.quantity > 0 and o.price <= price))

    price, traded = open_clearing(orders)
    assert traded == max(map(volume, range(400))) == volume(price) > 0


def test_orders_that_do_not_meet_trade_nothing():
    assert open_clearing([Order(300, 1000), Order(200, -1000)])[1] == 0


@pytest.mark.parametrize("seed", [0, 3])
def test_shares_give_the_open_books_price_and_volume(seed):
    pytest.importorskip("mpyc", reason="the extra `privacy` is not installed")
    words = ["studies/secure_clearing.py", "--no-log", "--orders", "7", "--seed", str(seed)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    price, traded = open_clearing(book(7, seed))
    assert f"| 1 | 7 | {price / 1000:.3f} | {traded / 1000:.1f} | 0 |" in done.stdout
