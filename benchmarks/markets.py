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
import os
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from market_costs import (
    BATCH,
    CLOSED,
    REFERENCE,
    SEATS,
    SEQUENTIAL,
    Point,
    exponent,
    family,
    ratios,
    scaling,
)

from gridbazaar.envs.markets import MARKETS
from gridbazaar.evaluation.summary import strict
from gridbazaar.palette import GREY, style

SIZES, TARGET = (10, 100, 1000), 20.0


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
