"""Solve and verify times of Proof of Solution: an auction by HiGHS, and the check of its residuals.

    python studies/ledger/solution_times.py

Prints what `configs/ledger/proof_of_solution.yaml` calls `solve_s` and `verify_s`, as seconds of
one core of this machine, beside what is configured. HiGHS solves the book as a linear programme,
as a solver for any market would; the project's own auction sorts it instead.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linprog

from gridbazaar.configs import option
from gridbazaar.envs.build import make_market
from gridbazaar.envs.clearing_check import residuals
from gridbazaar.envs.markets import Context, Market, Orders
from gridbazaar.sourced import plain

ORDERS = (41, 100, 200, 400)


@dataclass(frozen=True)
class Times:
    """Median seconds of a processor that a book of so many orders takes."""

    orders: int
    solve_s: float
    sort_s: float
    verify_s: float


def book(orders: int, seed: int = 0) -> tuple[Orders, Context]:
    """Draw one book: 5 kW at most, prices between 0.08 and 0.34 EUR/kWh."""
    draw = torch.Generator().manual_seed(seed)
    quantity, limit = torch.rand(2, 1, orders, generator=draw, dtype=torch.float64)
    ceiling, floor = (torch.full((1, 1), price, dtype=torch.float64) for price in (0.34, 0.08))
    made = Orders(quantity * 10 - 5, 0.08 + 0.26 * limit, torch.zeros_like(limit))
    return made, Context(ceiling, floor, 0.25)


def by_highs(orders: Orders) -> float:
    """Return the largest surplus of a book [1, M], EUR/h."""
    quantity, limit = orders.quantity_kw[0].numpy(), orders.limit_price[0].numpy()
    found = linprog(
        np.where(quantity > 0, limit, -limit),
        A_eq=np.sign(quantity)[None],
        b_eq=[0],
        bounds=np.stack([0 * quantity, abs(quantity)], 1),
        method="highs-ds",
    )
    return -float(found.fun)


def measure(orders: int, repeats: int = 200) -> Times:
    """Time solving and checking a book of so many orders; the check must find it optimal.

    Raises:
        ValueError: HiGHS and the market disagree, or the check refuses what is right.
    """
    made, context = book(orders)
    market: Market = make_market(option("market", "uniform_auction"))
    own = market.clear(made, context)
    surplus = -float((own.cleared_kw * made.limit_price).sum())
    if abs(surplus - by_highs(made)) > 1e-6 * abs(surplus):
        raise ValueError(f"HiGHS gains {by_highs(made)} EUR/h and the auction {surplus}")
    if not bool(residuals(made, own, context, market.claims).optimal):
        raise ValueError(f"the check refuses the optimum of {orders} orders")
    return Times(
        orders,
        _median(lambda: by_highs(made), repeats),
        _median(lambda: market.clear(made, context), repeats),
        _median(lambda: residuals(made, own, context, market.claims).optimal, repeats),
    )


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    taken = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
    return statistics.median(taken)


def main() -> None:
    """Print the times of several books, and those configured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=200, help="of each; the median counts")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"{'orders':>6} {'solve_s, HiGHS':>15} {'by sorting':>12} {'verify_s':>10} {'ratio':>6}")
    for orders in ORDERS:
        t = measure(orders, repeats)
        ratio = t.solve_s / t.verify_s
        print(f"{orders:>6} {t.solve_s:>15.5f} {t.sort_s:>12.5f} {t.verify_s:>10.5f} {ratio:>6.1f}")
    configured = plain(option("ledger", "proof_of_solution"))
    print(f"configured: solve_s {configured['solve_s']}, verify_s {configured['verify_s']}")


if __name__ == "__main__":
    main()
