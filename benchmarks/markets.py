"""Computing time of every market on random books: against the uniform auction, and against N.

    python benchmarks/markets.py --plot docs/images/market_cost.png
    python benchmarks/markets.py --json

Closed-form mechanisms clear 1,024 books of 100 seats, and their cost is given as a multiple of the
uniform auction's in the same run. All mechanisms clear books of 10, 100 and 1,000 seats on the
default feeder; a size that takes longer than `--budget` is left out, and so is one at which no book
is solved. Fewer books are cleared side by side where 64 would take too long. Books are float32.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from gridbazaar.configs import option
from gridbazaar.envs.data.simbench import load_grid
from gridbazaar.envs.grid import Limits, Network, PowerFlow
from gridbazaar.envs.grid.distance import electrical_distance
from gridbazaar.envs.markets import MARKETS, Clearing, Context, GridContext, Market, Orders
from gridbazaar.evaluation.palette import GREY, style
from gridbazaar.evaluation.summary import strict

GRID = "1-LV-semiurb4--2-sw"
SIZES = (10, 100, 1000)
BATCH, SEATS, TARGET, REFERENCE = 1024, 100, 20.0, "uniform_auction"
SCALING_BATCH, MOST_PAIRS = 64, 2**24
# Over the root of N, as sums of chance grow: trade then breaks the feeder's limits in a quarter to
# half of the books at every N, and those markets that watch them have something to do.
ORDER_KW = 800.0
# Those that take rounds, solve a programme or draw samples; any other is closed-form.
SEQUENTIAL = {
    "auctions and matching": ("continuous", "iterative", "stable_matching", "two_stage"),
    "optimisation": ("admm_parallel", "admm_sequential", "bilateral_dispatch"),
    "games": ("nucleolus", "price_game", "shapley", "stackelberg_sellers"),
    "network": ("curtailed_auction", "dynamic_grid_tariff", "locational_price",
                "operating_envelope"),
}  # fmt: skip
CLOSED = "closed form"


@dataclass(frozen=True)
class Point:
    """What one market cost at one size; `skipped` says why there is no figure.

    `us` is per market, of `batch` side by side; rounds are the slowest market's, messages a
    market's beyond its orders, and converged a share.
    """

    seats: int
    batch: int
    us: float = math.nan
    rounds: int = 0
    messages: float = math.nan
    converged: float = math.nan
    skipped: str = ""


class OverBudgetError(Exception):
    """The clearing took longer than it was given."""


@contextmanager
def budget(seconds: float) -> Iterator[None]:
    """Raise OverBudgetError in the block once its time is over."""

    def stop(*_: Any) -> None:
        raise OverBudgetError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def family(name: str) -> str:
    """Return the group that a market is shown in."""
    return next((kind for kind, names in SEQUENTIAL.items() if name in names), CLOSED)


def market(name: str) -> Market:
    """Build a market with its default parameters."""
    config = MARKETS.configure(option("market", name), "market")
    return MARKETS[name](config)


@lru_cache
def feeder() -> tuple[Network, list[int], PowerFlow, Limits]:
    """Return the default feeder, its load buses, power flow and limits."""
    net, _ = load_grid(GRID)
    network = Network.from_pandapower(net)
    buses = sorted(set(net.load.bus))
    limits = Limits.of(network, (0.9, 1.1), 100.0, dtype=torch.float32)
    return network, buses, PowerFlow(network, buses, dtype=torch.float32), limits


def books(batch: int, seats: int) -> tuple[Orders, Context]:
    """Return random books, a quarter of the seats idle, of seats spread over the feeder."""
    draw = torch.Generator().manual_seed(seats)
    shape = (batch, seats)
    size_kw = (torch.rand(shape, generator=draw) * 2 - 1) * (ORDER_KW / math.sqrt(seats))
    low, high = torch.full((batch, 1), 0.08), torch.full((batch, 1), 0.34)
    orders = Orders(
        size_kw * (torch.rand(shape, generator=draw) > 0.25),
        low + (high - low) * torch.rand(shape, generator=draw),
        30 * torch.rand(shape, generator=draw),
    )
    network, buses, solver, limits = feeder()
    bus = torch.randint(len(buses), (seats,), generator=draw)
    background_kw = torch.full((batch, len(buses)), -0.5)
    place = GridContext(
        distance=torch.as_tensor(electrical_distance(network, buses)).float()[bus][:, bus],
        green=torch.rand(seats, generator=draw) > 0.5,
        solver=solver,
        limits=limits,
        to_bus=torch.nn.functional.one_hot(bus, len(buses)).float(),
        background_kw=background_kw,
        reactive_kvar=background_kw / 5,
    )
    return orders, Context(high, low, 0.25, grid=place)


def timed(clear: Callable[[], Clearing], seconds: float) -> tuple[float, Clearing]:
    """Return the median time of calls for about `seconds`, and the last result.

    The first call warms up; where it alone takes longer than that, it counts.
    """
    times: list[float] = []
    while True:
        start = time.perf_counter()
        out = clear()
        times.append(time.perf_counter() - start)
        if sum(times) > seconds:
            return statistics.median(times[1:] or times), out


def measure(name: str, batch: int, seats: int, most_s: float, seconds: float) -> Point:
    """Time one market at one size."""
    orders, context = books(batch, seats)
    mechanism = market(name)
    try:
        with budget(most_s):
            took, out = timed(lambda: mechanism.clear(orders, context), seconds)
    except OverBudgetError:
        return Point(seats, batch, skipped=f"over {most_s:g} s")
    converged = float(out.converged.double().mean())
    if not converged:
        return Point(seats, batch, converged=0.0, skipped="none solved")
    rounds, messages = int(out.iterations.max()), float(out.messages.double().mean())
    return Point(seats, batch, took / batch * 1e6, rounds, messages, converged)


def ratios(seconds: float, most_s: float) -> dict[str, dict[str, float]]:
    """Cost of closed-form markets, in us per market and as a multiple of the uniform auction's."""
    rows = {}
    for name in MARKETS.names():
        if family(name) == CLOSED:
            # Right before each: a busy moment of the machine then falls on both.
            reference = measure(REFERENCE, BATCH, SEATS, most_s, seconds).us
            us = measure(name, BATCH, SEATS, most_s, seconds).us
            rows[name] = {"us": us, "reference_us": reference, "ratio": us / reference}
    return rows


def scaling(name: str, sizes: tuple[int, ...], most_s: float, seconds: float) -> list[Point]:
    """Cost against N; no size is tried after one that took too long."""
    points: list[Point] = []
    for seats in sizes:
        batch = max(1, min(SCALING_BATCH, MOST_PAIRS // seats**2))
        last = points[-1] if points else None
        if last and last.skipped.startswith("over"):
            points.append(Point(seats, batch, skipped=last.skipped))
            continue
        if last and not last.skipped:
            expected_s = last.us * 1e-6 * (seats / last.seats) ** 2
            batch = max(1, min(batch, int(most_s / 2 / expected_s)))
        points.append(measure(name, batch, seats, most_s, seconds))
    return points


def exponent(points: list[Point]) -> float:
    """Return p of the fitted cost N^p; NaN with fewer than two sizes."""
    there = [p for p in points if not p.skipped]
    if len(there) < 2:
        return math.nan
    seats, cost = np.log([p.seats for p in there]), np.log([p.us for p in there])
    return float(np.polyfit(seats, cost, 1)[0])


def draw(costs: dict[str, list[Point]], path: Path) -> None:
    """Draw cost against N, a panel per family; the uniform auction in all of them."""
    panels = [CLOSED, *SEQUENTIAL]
    with style():
        figure, grid = plt.subplots(2, 3, figsize=(15, 8), sharex=True, sharey=True)
        for axes, kind in zip(grid.flat, panels, strict=False):
            names = [name for name in costs if family(name) == kind and name != REFERENCE]
            for k, name in enumerate([REFERENCE, *names]):
                points = [p for p in costs[name] if not p.skipped]
                label = f"{name.replace('_', ' ')}  {exponent(points):.1f}".replace("nan", "–")
                look = {"color": GREY, "lw": 3} if name == REFERENCE else {
                    "color": f"C{k % 6}", "ls": "-" if k < 6 else "--"}  # fmt: skip
                seats, cost = [p.seats for p in points], [p.us / 1e3 for p in points]
                axes.plot(seats, cost, marker="o", ms=4, label=label, **look)
            axes.set(xscale="log", yscale="log", title=kind)
            axes.legend(
                title="N to the power of",
                fontsize=8,
                title_fontsize=8,
                loc="upper left",
                bbox_to_anchor=(1, 1),
            )
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("ms per market")
        for axes in grid[-1]:
            axes.set_xlabel("seats N")
        partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        figure.savefig(partial)
        plt.close(figure)
    os.replace(partial, path)


def print_tables(closed: dict[str, dict[str, float]], costs: dict[str, list[Point]]) -> None:
    """Print both tables."""
    print(f"closed-form markets, {BATCH} books of {SEATS} seats")
    print(f"{'market':22} {'us':>9} {'uniform':>9} {'ratio':>7} {'target':>7}  met")
    for name, row in closed.items():
        met = "yes" if row["ratio"] <= TARGET else "NO"
        times = f"{row['us']:9,.1f} {row['reference_us']:9,.1f} {row['ratio']:7.1f}"
        print(f"{name:22} {times} {TARGET:7.0f}  {met}")
    sizes = [point.seats for point in next(iter(costs.values()))]
    print("\nms per market; rounds, messages and solved share are those of the last size measured")
    head = "".join(f"{f'N={n:,}':>14}" for n in sizes)
    print(f"{'market':22}{head} {'exponent':>9} {'rounds':>7} {'messages':>9} {'solved':>7}")
    for name, points in costs.items():
        cells = "".join(f"{p.skipped or f'{p.us / 1e3:,.4f}':>14}" for p in points)
        print(f"{name:22}{cells} {exponent(points):9.2f}", end=" ")
        last = next((p for p in reversed(points) if not p.skipped), None)
        print(f"{last.rounds:7d} {last.messages:9,.0f} {last.converged:7.0%}" if last else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--plot", type=Path, help="write the plot here")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--budget", type=float, default=3, help="seconds for a market and size")
    parser.add_argument("--seconds", type=float, default=0.2, help="of repeats behind a median")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="seats N")
    parser.add_argument("--markets", nargs="+", default=MARKETS.names(), help="names")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    closed = ratios(options.seconds, options.budget)
    names = sorted({REFERENCE, *options.markets})
    costs = {
        name: scaling(name, tuple(options.sizes), options.budget, options.seconds) for name in names
    }
    if options.plot:
        draw(costs, options.plot)
    if not options.json:
        print_tables(closed, costs)
        print(f"{options.threads} threads, load of the machine before the run: {load:.1f}")
        return
    result = {
        "closed_form": {"batch": BATCH, "seats": SEATS, "target": TARGET, "markets": closed},
        "scaling": {
            name: {
                "family": family(name),
                "exponent": exponent(points),
                "points": [asdict(point) for point in points],
            }
            for name, points in costs.items()
        },
        "threads": options.threads,
        "load_before": load,
    }
    print(json.dumps(strict(result), indent=2, allow_nan=False))


if __name__ == "__main__":
    main()
