"""How many transactions a second the ledgers carry, and what that leaves of the environment's pace.

    python benchmarks/ledger.py            # a table
    python benchmarks/ledger.py --json

1,024 ledgers with 100 accounts that all send in every slot. "Queue" rows hold more transactions
than the next block takes, so that most must wait for one of the slot's later blocks. The
environment's pace under the default block ledger is held against its pace under the ideal one,
day by day in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rows import Row, print_rows, seconds

import configs
import envs
import ledger_sim
from ledger_sim.registry import read_config

BATCH, ACCOUNTS, SLOTS, DEADLINE_S = 1024, 100, 24, 870.0
LEDGERS = Path(configs.FOLDER) / "ledger"


def transactions_per_s(changes: dict[str, Any], submitted_s: float, repeats: int) -> float:
    """Transactions a second that a changed block ledger carries."""
    config = read_config(LEDGERS / "block.yaml").model_copy(update=changes)
    ledger = ledger_sim.make(config)
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


def pace(ledger: str, num_envs: int, repeats: int) -> float:
    """Median over days of the environment's pace under a ledger, over that under the ideal one."""
    simulations = [envs.batched(ledger=name, num_envs=num_envs) for name in ("ideal", ledger)]
    actions = torch.rand(8, num_envs, simulations[0].num_seats, 3) * 2 - 1

    def day_s(simulation: Any) -> float:
        simulation.reset()
        start = time.perf_counter()
        for t in range(simulation.slots):
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
    crowd = {"block_gas": ACCOUNTS / 4}
    by_tip = crowd | {"queue": "tip"}
    return [
        Row("no queue", transactions_per_s({}, 860.0, repeats) / 1e6, 20, "million tx/s"),
        Row(
            "queue by arrival", transactions_per_s(crowd, 700.0, repeats) / 1e6, 20, "million tx/s"
        ),
        Row("queue by fee", transactions_per_s(by_tip, 700.0, repeats) / 1e6, 5, "million tx/s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--repeats", type=int, default=5, help="timed days; the median counts")
    parser.add_argument("--all", action="store_true", help="the pace under every ledger")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    rows = speed_rows(options.repeats)
    kept = 100 * pace("block", 512, options.repeats)
    rows.append(Row("environment's pace kept by the block ledger", kept, 80, "%"))
    if options.all:
        for name in configs.options("ledger"):
            if name not in ("ideal", "block"):
                share = 100 * pace(name, 512, options.repeats)
                rows.append(Row(f"environment's pace kept by {name}", share, 0, "%"))
    if options.json:
        print(json.dumps({"rows": [asdict(r) | {"met": r.met} for r in rows], "load": load}))
        return
    print_rows(rows)
    print(f"{options.threads} threads, load of the machine before the run: {load:.1f}")


if __name__ == "__main__":
    main()
