"""Cost of each layer on a ledger to the market: on real test days, all else the same.

    python studies/ledger/layer_costs.py
    python studies/ledger/layer_costs.py --ledger block --bidder mpc --days 7 --json

The default task's test days with the same chances for every layer, each with its default
parameters. Printed is a Markdown table, as in docs/layers.md.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import torch

from gridbazaar import configs, ledger_sim
from gridbazaar.agents.bidders import make
from gridbazaar.envs import batched, kpis
from gridbazaar.envs.day_record import Facts
from gridbazaar.envs.simulation import Simulation
from gridbazaar.evaluation.rollout import play
from gridbazaar.evaluation.stage import choose_days
from gridbazaar.evaluation.summary import strict
from gridbazaar.ledger_sim.layers.protocol import LAYERS

NONE = "none"
# Heading, key figure, and by how much the figure is multiplied.
COLUMNS = (
    ("fees, EUR/day", "ledger_fees", 1.0),
    ("orders missed, %", "missed_orders", 1.0),
    ("in a block, s", "confirmation_p50", 1.0),
    ("final, min", "finality_p50", 1 / 60),
    ("locked, EUR", "locked_money", 1.0),
    ("transactions a day", "transactions", 1.0),
    ("energy, kWh/day", "ledger_energy", 1.0),
)


def under(plain: Simulation, ledger: str, layer: str, num_envs: int) -> Simulation:
    """Return so many markets of the same world on another ledger."""
    chosen = [] if layer == NONE else [layer]
    carrier = ledger_sim.make(
        configs.complete_ledger(configs.option("ledger", ledger) | {"layers": chosen})
    )
    return Simulation(
        plain.community,
        plain.delivery,
        plain.market,
        carrier,
        plain.rules,
        num_envs,
        plain.split,
        seed=0,
    )


def rows(ledger: str, bidder: str, most: int | None) -> list[dict[str, Any]]:
    """Play every layer; return the means over days of cost and figures."""
    plain = batched(num_envs=1, split="test")
    days = choose_days(plain, plain.split, most)
    limits = plain.delivery.limits
    # Carbon is not shown.
    facts, seed = Facts.of(plain.community, 0.0), torch.arange(len(days))
    found: list[dict[str, Any]] = []
    for layer in (NONE, *LAYERS.names()):
        bids = make(bidder, plain.game)
        world = under(plain, ledger, layer, len(days))
        figures = kpis.compute(play(world, bids, days, seed, facts, limits))
        means = {key: float(figures[key].nanmean()) * factor for _, key, factor in COLUMNS}
        found.append({"layer": layer, "cost": float(figures["community_cost"].mean()), **means})
    return [row | {"more": row["cost"] - found[0]["cost"]} for row in found]


def print_table(found: list[dict[str, Any]]) -> None:
    """Print Markdown."""
    heads = ["layer", "cost, EUR/day", "more than none", *(head for head, _, _ in COLUMNS)]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in found:
        shown = [f"`{row['layer']}`", number(row["cost"]), f"{row['more']:+.2f}"]
        shown += [number(row[key]) for _, key, _ in COLUMNS]
        print(f"| {' | '.join(shown)} |")


def number(value: float) -> str:
    """Return cents of small numbers, no decimals of large ones."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ledger", default="proof_of_stake", help="beneath the layers")
    parser.add_argument("--bidder", default="own_use", help="of all seats")
    parser.add_argument("--days", type=int, help="evenly spaced test days; else all")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load, start = os.getloadavg()[0], time.perf_counter()
    found = rows(options.ledger, options.bidder, options.days)
    if options.json:
        print(json.dumps(strict({"rows": found, "load": load}), allow_nan=False))
        return
    print_table(found)
    took = time.perf_counter() - start
    print(f"\n{took:.0f} s, load of the machine before the run: {load:.1f}")


if __name__ == "__main__":
    main()
