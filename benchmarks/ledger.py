"""Throughput of the ledgers in transactions a second, and what it leaves of the environment's pace.

    python benchmarks/ledger.py            # a table
    python benchmarks/ledger.py --all      # every ledger: a few minutes
    python benchmarks/ledger.py --json

1,024 ledgers with 100 accounts that all send in every slot. "Queue" rows hold more transactions
than the next block takes, so that most must wait for one of the slot's later blocks. With `--all`,
each ledger as it is configured carries what is sent in good time; 7.7 million a second are 13
microseconds per ledger and slot. The environment's pace under the default block ledger is held
against its pace under the ideal one, day by day in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import asdict
from typing import Any

import torch
from rows import Row, print_rows, seconds
from tqdm import tqdm

from gridbazaar import configs, envs, ledger_sim

BATCH, ACCOUNTS, SLOTS, DEADLINE_S = 1024, 100, 24, 870.0


def transactions_per_s(
    name: str, repeats: int, submitted_s: float | None = None, **changes: Any
) -> float:
    """Transactions a second that a changed ledger carries; sent in good time by default."""
    ledger = ledger_sim.make(
        ledger_sim.configure(configs.option("ledger", name)).model_copy(update=changes)
    )
    if submitted_s is None:
        submitted_s = max(DEADLINE_S - ledger.lead_s(DEADLINE_S), 0.0)
    seed = torch.arange(BATCH)
    everyone = ledger_sim.Transactions(
        torch.ones(BATCH, ACCOUNTS, dtype=torch.bool),
        torch.full((BATCH, ACCOUNTS), submitted_s),
        torch.rand(BATCH, ACCOUNTS, generator=torch.Generator().manual_seed(0)),
    )

    def day() -> None:
        ledger.reset(seed)
        for _ in range(SLOTS):
            ledger.step(everyone, DEADLINE_S)

    return BATCH * ACCOUNTS * SLOTS / seconds(day, repeats)


def pace(ledger: str, num_envs: int, repeats: int, slots: int = 96) -> float:
    """Median over days of the environment's pace under a ledger, over that under the ideal one."""
    simulations = [envs.batched(ledger=name, num_envs=num_envs) for name in ("ideal", ledger)]
    entries = len(simulations[0].game.layout.actions)
    actions = torch.rand(8, num_envs, simulations[0].num_seats, entries) * 2 - 1

    def day_s(simulation: Any) -> float:
        simulation.reset()
        start = time.perf_counter()
        for t in range(min(slots, simulation.slots)):
            simulation.step(actions[t % len(actions)])
        return time.perf_counter() - start

    for simulation in simulations:
        day_s(simulation)
    ratios = []
    for _ in range(repeats):
        ideal, other = (day_s(simulation) for simulation in simulations)
        ratios.append(ideal / other)
    return statistics.median(ratios)


def speed_rows(repeats: int) -> list[Row]:
    """Transactions per second of the queue."""
    crowd: dict[str, Any] = {"block_gas": ACCOUNTS / 4}
    cases: list[tuple[str, float, dict[str, Any], float]] = [
        ("no queue", 860.0, {}, 20),
        ("queue by arrival", 700.0, crowd, 20),
        ("queue by fee", 700.0, crowd | {"queue": "tip"}, 5),
    ]
    return [
        Row(
            what,
            transactions_per_s("block", repeats, submitted_s, **changes) / 1e6,
            target,
            "million tx/s",
        )
        for what, submitted_s, changes, target in cases
    ]


def rows_of_every_ledger() -> list[Row]:
    """Transactions per second of each configured ledger, and the environment's pace under it."""
    rows = []
    for name in tqdm([n for n in configs.options("ledger") if n != "ideal"], disable=None):
        rate = transactions_per_s(name, repeats=2) / 1e6
        rows.append(Row(name, rate, 1 / 0.13, "million tx/s"))
        kept = 100 * pace(name, 512, repeats=2, slots=SLOTS)
        rows.append(Row(f"environment's pace kept by {name}", kept, 0, "%"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--repeats", type=int, default=5, help="timed days; the median counts")
    parser.add_argument("--all", action="store_true", help="every ledger: a few minutes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    rows = speed_rows(options.repeats)
    kept = 100 * pace("block", 512, options.repeats)
    rows.append(Row("environment's pace kept by the block ledger", kept, 80, "%"))
    if options.all:
        rows += rows_of_every_ledger()
    if options.json:
        print(json.dumps({"rows": [asdict(r) | {"met": r.met} for r in rows], "load": load}))
        return
    print_rows(rows)
    print(f"{options.threads} threads, load of the machine before the run: {load:.1f}")


if __name__ == "__main__":
    main()
