"""Golden figures of fixed days and a short training, kept so that a move can be checked.

    python tools/golden.py            # compare with tests/golden, exit code 1 where figures differ
    python tools/golden.py --write    # renew tests/golden after a change of meaning
    python tools/golden.py --exact    # compare bit for bit: same machine, same torch
    python tools/golden.py --only "rural1 ideal"    # some of the worlds

Two days of every combination in float64, one thread: each seat's bill, every key figure and the sum
of every observation entry; and the first two iterations of a small training run.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from gridbazaar import envs
from gridbazaar.agents.bidders import BIDDERS, make
from gridbazaar.agents.learning import run_folder, trainer
from gridbazaar.configs import options
from gridbazaar.envs import kpis, observation
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.markets import MARKETS

FOLDER = Path(__file__).parents[1] / "tests" / "golden"
FIGURES, TRAINING = FOLDER / "figures.parquet", FOLDER / "training.parquet"
KEYS = ["task", "market", "ledger", "bidder", "day", "quantity"]
_TASKS: dict[str, tuple[str, ...]] = {
    "semiurb4": (),
    "rural1": ("task.rules.forecast_spread=0.1", "task.devices.vehicle.v2g=true"),
    "cigre_lv": ("task.rules.limits.action=curtail", "task.rules.forecast=perfect"),
}
_MARKETS = (
    "uniform_auction",
    "continuous",
    "mid_market_rate",
    "vcg",
    "bilateral_dispatch",
    "locational_price",
)
_LEDGERS: dict[str, tuple[str, list[str]]] = {
    "ideal": ("ideal", []),
    "block": ("block", []),
    "proof_of_work": ("proof_of_work", []),
    "tendermint+2": ("tendermint", ["ledger.layers=[commit_reveal,aggregated_disclosure]"]),
}
_BIDDERS = ("own_use", "truthful", "mpc", "zero_intelligence")
_TRAINING = ("name=golden", "num_envs=4", "total_agent_steps=31488", "validate_every=1")
# The rest of the shelf once each, on the smallest task.
_SMALL = "rural1"


def combinations() -> Iterator[tuple[str, str, str, str]]:
    """List task, market, ledger and bidder of every combination."""
    yield from product(_TASKS, _MARKETS, _LEDGERS, _BIDDERS)
    for market in MARKETS.names():
        yield _SMALL, market, "ideal", "tariff_rule"
    for bidder in BIDDERS.names():
        yield _SMALL, "pay_as_bid", "ideal", bidder
    for ledger in options("ledger"):
        yield _SMALL, "pay_as_bid", ledger, "truthful"
    for layer in options("layer"):
        yield _SMALL, "pay_as_bid", f"block+{layer}", "truthful"


def world(task: str, market: str, ledger: str) -> envs.WorldConfig:
    """Return the world of a combination."""
    if ledger.startswith("block+"):
        name, words = "block", [f"ledger.layers=[{ledger.partition('+')[2]}]"]
    else:
        name, words = _LEDGERS.get(ledger, (ledger, []))
    return envs.world(task, market, name, (*_TASKS[task], *words))


@torch.no_grad()
def play(sim: envs.Simulation, bidder: str) -> dict[tuple[str, int], float]:
    """Play two days; return numbers by quantity and day."""
    days = sim.community.days["test"]
    policy = make(bidder, sim.game)
    seen, state = sim.reset(days=days[[len(days) // 3, 2 * len(days) // 3]], seed=5), None
    bill = torch.zeros(2, sim.num_seats, dtype=torch.float64)
    total, intervals = torch.zeros(2, observation.SIZE, dtype=torch.float64), []
    for _ in range(sim.slots):
        total += seen.sum(1)
        action, state = policy.act(seen, state)
        interval = sim.step(action)
        bill += interval.bill.total
        seen = interval.observation
        intervals.append(interval)
    facts = Facts.of(sim.community, carbon_kg_per_kwh=0.5)
    figures = kpis.compute(DayRecord.of(intervals, facts, sim.delivery.limits))
    names = sim.community.seats
    found = {f"bill/{name}": bill[:, i] for i, name in enumerate(names)}
    found |= {f"kpi/{name}": value.double() for name, value in figures.items()}
    entries = observation.FEATURES
    found |= {f"observation/{e.name}": total[:, i] / e.scale for i, e in enumerate(entries)}
    return {(name, day): float(v[day]) for name, v in found.items() for day in range(2)}


def rows_of(place: tuple[str, str, str], bidders: list[str]) -> list[tuple[Any, ...]]:
    """Play all bidders in one world, on one thread."""
    torch.set_num_threads(1)
    sim = envs.build(world(*place), num_envs=2, split="test", seed=5, dtype=torch.float64)
    return [
        (*place, bidder, day, name, value)
        for bidder in bidders
        for (name, day), value in play(sim, bidder).items()
    ]


def figures(only: str = "") -> pd.DataFrame:
    """Play every combination whose world is named by all words of `only`."""
    worlds: dict[tuple[str, str, str], list[str]] = {}
    for *place, bidder in dict.fromkeys(combinations()):
        if all(word in place for word in only.split()):
            worlds.setdefault((place[0], place[1], place[2]), []).append(bidder)
    rows: list[tuple[Any, ...]] = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = pool.map(rows_of, worlds.keys(), worlds.values())
        for part in tqdm(found, total=len(worlds), disable=not sys.stderr.isatty()):
            rows += part
    frame = pd.DataFrame(rows, columns=[*KEYS, "value"])
    return frame.astype(dict.fromkeys(set(KEYS) - {"day"}, "category"))


def training() -> pd.DataFrame:
    """Run two iterations; return what their curves say, times left out."""
    with tempfile.TemporaryDirectory() as folder:
        config = run_folder.configure((*_TRAINING, f"folder={folder}"))
        run = trainer.train(config).folder
        with (run / "progress.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    frame = pd.DataFrame(rows).drop(columns="seconds").astype(float)
    return frame.melt("iteration", var_name="quantity")


def differences(now: pd.DataFrame, golden: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """Return the rows that are missing, new, or apart by more than `tolerance` of their size."""
    keys = [name for name in golden.columns if name != "value"]
    plain = dict.fromkeys((k for k in keys if now[k].dtype == "category"), str)
    both = now.astype(plain).merge(
        golden.astype(plain), on=keys, how="outer", suffixes=("", "_golden"), indicator=True
    )
    value, want = both["value"], both["value_golden"]
    apart = ~((value == want) | (value.isna() & want.isna()))
    near = (value - want).abs() <= tolerance * want.abs().clip(lower=1.0)
    return both[(both["_merge"] != "both") | (apart & ~near)].drop(columns="_merge")


def main() -> int:
    """Write or compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="renew the golden figures")
    parser.add_argument("--exact", action="store_true", help="compare bit for bit")
    parser.add_argument("--only", default="", help="worlds whose name holds this: rural1 vcg block")
    parser.add_argument("--show", type=int, default=40, help="how many differing rows to print")
    options = parser.parse_args()
    torch.set_num_threads(1)
    code = 0
    for path, compute in ((TRAINING, training), (FIGURES, partial(figures, options.only))):
        now = compute()
        if path.is_file():
            golden = pd.read_parquet(path)
            if options.only and path is FIGURES:
                golden = golden.merge(now[["task", "market", "ledger"]].drop_duplicates())
            apart = differences(now, golden, 0.0 if options.exact else 1e-9)
            print(f"{path.name}: {len(now)} figures, {len(apart)} differ")
            if len(apart):
                print(apart.head(options.show).to_string())
                code = 1
        if options.write:
            path.parent.mkdir(exist_ok=True)
            now.to_parquet(path, index=False)
    return 0 if options.write else code


if __name__ == "__main__":
    sys.exit(main())
