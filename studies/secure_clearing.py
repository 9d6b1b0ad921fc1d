"""Clearing of a book that nobody reads: computed by three parties on shares of every order.

    python studies/secure_clearing.py -M3 --orders 41

EPS 5.2.3 [79] clears bids under secure multi-party computation. Here every order's price and
quantity is shared among M parties (Shamir's shares, an honest majority, by MPyC), who compare and
add shares and open the price and the volume alone. Printed is what that took, if it is what the
open book gives; `-M3` and the like are MPyC's own words.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

_BITS = 32


class Order(NamedTuple):
    """Price in tenths of a cent per kWh and quantity in W; positive sells, negative buys."""

    price: int
    quantity: int


def book(orders: int, seed: int) -> list[Order]:
    """Draw a book between feed-in and retail, half of it asks, up to 5 kW each."""
    draw = random.Random(seed)
    sides = [1 if place % 2 else -1 for place in range(orders)]
    return [Order(draw.randint(80, 380), side * draw.randint(100, 5000)) for side in sides]


def open_clearing(orders: Sequence[Order]) -> tuple[int, int]:
    """Return price and volume of the open book: the first price of an order with most volume."""

    def volume(price: int) -> int:
        demand = sum(-q for p, q in orders if q < 0 and p >= price)
        return min(demand, sum(q for p, q in orders if q > 0 and p <= price))

    price = max((order.price for order in orders), key=volume)
    return price, volume(price)


async def secure_clearing(mpc: Any, orders: Sequence[Order]) -> tuple[int, int]:
    """Return the same from shares; sides are public, prices and quantities are not.

    Args:
        mpc: MPyC's runtime, started.
        orders: known to the first party alone, which stands for the seats.
    """
    number = mpc.SecInt(_BITS)
    shared = [
        tuple(mpc.input(number(value if mpc.pid == 0 else 0), senders=0) for value in order)
        for order in orders
    ]
    buys = [
        (price, -quantity)
        for (price, quantity), o in zip(shared, orders, strict=True)
        if o.quantity < 0
    ]
    sells = [both for both, o in zip(shared, orders, strict=True) if o.quantity > 0]
    volumes = []
    for price, _ in shared:
        demand = mpc.in_prod([bid >= price for bid, _ in buys], [q for _, q in buys])
        supply = mpc.in_prod([ask <= price for ask, _ in sells], [q for _, q in sells])
        volumes.append(mpc.min(demand, supply))
    place, most = mpc.argmax(volumes)
    chosen = mpc.in_prod(mpc.unit_vector(place, len(orders)), [price for price, _ in shared])
    return int(await mpc.output(chosen)), int(await mpc.output(most))


async def measured(mpc: Any, orders: Sequence[Order]) -> None:
    """Clear a book on shares and print what it took."""
    await mpc.start()
    start = time.process_time()
    found = await secure_clearing(mpc, orders)
    took_s = time.process_time() - start
    sent = sum(peer.protocol.nbytes_sent for peer in mpc.parties if peer.pid != mpc.pid)
    parties, mine = len(mpc.parties), mpc.pid == 0
    await mpc.shutdown()
    if not mine:
        return
    if found != open_clearing(orders):
        raise SystemExit(f"cleared {found} on shares, {open_clearing(orders)} in the open")
    print("| parties | orders | price, EUR/kWh | volume, kW | bytes of a party | its time, s |")
    print("|---|---|---|---|---|---|")
    price, volume = found[0] / 1000, found[1] / 1000
    print(f"| {parties} | {len(orders)} | {price:.3f} | {volume:.1f} | {sent:,} | {took_s:.2f} |")


def main() -> None:
    """Run one party, and with `-M` the others."""
    try:
        from mpyc.runtime import mpc
    except ImportError:
        raise SystemExit("needs MPyC: pip install 'gridbazaar[privacy]'") from None
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=41, help="in the book")
    parser.add_argument("--seed", type=int, default=0, help="of the book")
    options = parser.parse_args()
    mpc.run(measured(mpc, book(options.orders, options.seed)))


if __name__ == "__main__":
    main()
