"""Computing time of markets on random books, one market at one size or a series of sizes."""

from __future__ import annotations

import math
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from gridbazaar.configs import option
from gridbazaar.envs.data.simbench import load_grid
from gridbazaar.envs.grid import Limits, Network, PowerFlow
from gridbazaar.envs.grid.distance import electrical_distance
from gridbazaar.envs.markets import MARKETS, Clearing, Context, GridContext, Market, Orders

GRID = "1-LV-semiurb4--2-sw"
BATCH, SEATS, REFERENCE = 1024, 100, "uniform_auction"
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
                "operating_envelope", "quartierstrom_auction"),
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
