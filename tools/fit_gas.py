"""Fit of the market contract's gas: every call measured on an EVM, checked on other books.

    python tools/fit_gas.py                  # measure, fit, write ledger_sim/gas.yaml, check
    python tools/fit_gas.py --check              # the written table on unseen books
    python tools/fit_gas.py --check --plot docs/images/gas.png
    python tools/fit_gas.py --replay             # the same transactions on a second EVM

Needs the extra `evm`; `--replay` needs Node and `npm ci` in tools/ethereumjs. Nothing is
timed: the figures are the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import yaml

from gridbazaar import files
from gridbazaar.ledger_sim import gas
from gridbazaar.palette import BLUE, GREEN, GREY, ORANGE, PINK, style
from gridbazaar.studies.contract import MECHANISMS, source_digest
from gridbazaar.studies.contract.evm import WEALTH_WEI
from gridbazaar.studies.contract.measurements import (
    Measurements,
    Observation,
    measure,
    measure_mechanisms,
)

# Bids, asks, overlap of their prices and tick of each book.
FITTED = [
    (2, 2, 0.3, 1), (5, 5, 0.0, 1), (10, 10, 0.1, 1), (8, 12, 0.5, 1), (20, 20, 0.0, 20_000),
    (30, 50, 0.2, 1), (5, 4, -1.0, 1), (40, 30, -1.0, 1), (28, 20, 0.1, 50_000),
    (60, 60, 0.0, 1), (110, 90, 0.3, 1), (150, 150, 0.0, 1),
]  # fmt: skip
UNSEEN = [
    (3, 4, 0.2, 1), (7, 7, 0.0, 1), (15, 10, 0.1, 10_000), (25, 25, 0.4, 1), (33, 44, 0.0, 1),
    (40, 12, 0.2, 1), (12, 40, 0.1, 50_000), (20, 20, -1.0, 1), (45, 45, 1.0, 1),
    (90, 90, 0.1, 1), (128, 140, 0.0, 1),
]  # fmt: skip
ALLOWED = 0.01
TRADING = 0.55  # share of a usual book's orders that trade, for the plot and its title
TABLE_HEAD = """\
# Gas of each call of studies/contract/market.vy and mechanisms.vy (clear_pairs, clear_checked,
# settle_deals): the sum of counts times these. Written by tools/fit_gas.py. Counted are: the call
# itself, orders in the book, orders that trade (matched),
# places by which sorting moves orders (shift), seats in a batch, balances that were zero (new),
# pages of 256 accounts, those not marked yet (fresh), levels of a Merkle proof, whether an order is
# the interval's first, whether any reading differs from its trade (penalised), whether a channel's
# state answers another.
"""
REPLAY = Path(__file__).parent / "ethereumjs" / "replay.mjs"


@dataclass(frozen=True)
class Fit:
    """Coefficients of one call, its transactions, and the largest relative error among them."""

    coefficients: Mapping[str, float]
    transactions: int
    error: float


def by_call(seen: Sequence[Observation]) -> dict[str, list[Observation]]:
    """Group observations by their call."""
    groups: dict[str, list[Observation]] = defaultdict(list)
    for one in seen:
        groups[one.call].append(one)
    return groups


def fit(seen: Sequence[Observation]) -> Fit:
    """Fit one call's gas by least squares of its relative error."""
    names = ["call", *seen[0].counts]
    counts = np.array([[1.0, *one.counts.values()] for one in seen])
    used = np.array([one.gas for one in seen], float)
    solution = np.linalg.lstsq(counts / used[:, None], np.ones(len(used)), rcond=None)
    if solution[2] < len(names):
        raise ValueError(
            f"{seen[0].call}: the transactions do not tell {', '.join(names)} apart; "
            "vary each of them in FITTED"
        )
    rounded = solution[0].round(1)
    error = float(np.abs(counts @ rounded / used - 1).max())
    return Fit(dict(zip(names, rounded.tolist(), strict=True)), len(seen), error)


def write(fits: Mapping[str, Fit], path: Path) -> None:
    """Write the table, whole or not at all."""
    machine = f"py-evm {version('py-evm')}, Prague"
    rows: dict[str, Any] = {
        "contract": {
            "sha256": source_digest(),
            "mechanisms_sha256": source_digest(MECHANISMS),
            "compiler": f"vyper {version('vyper')}",
        },
        "limits": {
            "transaction": _entry(16_777_216, "gas", "EIP-7825", "published"),
            "side": _entry(256, "orders", "SIDE in contracts/market.vy: memory", "assumed"),
        },
        "transfer": {
            "call": _entry(21_000, "gas", "Ethereum yellow paper, G_transaction", "published")
        },
    }
    for call, found in fits.items():
        source = f"{machine}; {found.transactions} transactions, error up to {found.error:.2%}"
        rows[call] = {
            name: _entry(value, "gas" if name == "call" else f"gas/{name}", source, "measured")
            for name, value in found.coefficients.items()
        }
    text = TABLE_HEAD + yaml.safe_dump(rows, sort_keys=False, width=200, default_flow_style=None)
    files.write(path, text)


def _entry(value: float, unit: str, source: str, status: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "source": source, "status": status}


def errors(seen: Sequence[Observation]) -> dict[str, tuple[int, float]]:
    """Return each call's number of transactions and the table's largest relative error on them."""
    found = {}
    for call, group in by_call(seen).items():
        wrong = [abs(gas.predicted(call, one.counts) / one.gas - 1) for one in group]
        found[call] = (len(group), max(wrong))
    return found


def replay(done: Measurements, hardfork: str) -> tuple[int, int]:
    """Run all on @ethereumjs/vm; return how many took the same gas, and how many there are."""
    transactions, used = zip(*done.replayed(), strict=True)
    job = {"hardfork": hardfork, "wealth": str(WEALTH_WEI), "transactions": transactions}
    ran = subprocess.run(
        ["node", REPLAY], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise RuntimeError(f"{REPLAY.name} failed: {ran.stderr.strip()[-500:]}")
    return sum(a == b for a, b in zip(json.loads(ran.stdout), used, strict=True)), len(used)


def plot(seen: Sequence[Observation], path: Path) -> None:
    """Draw the unseen books' gas against their size, beside what the table says of usual ones."""
    groups = by_call(seen)
    sizes = np.geomspace(2, 512, 60)
    usual = {
        "clear": ("order", BLUE, "clear, sorted on the chain", gas.clear_gas),
        "clear_hinted": ("order", GREEN, "clear, order as a hint", hinted_gas),
        "settle": (
            "seat",
            ORANGE,
            "settle by meter readings",
            lambda seats, _: gas.settle_gas(seats),
        ),
        "batch": ("seat", PINK, "post net payments", lambda seats, _: gas.batch_gas(seats)),
    }
    with style():
        figure, axis = plt.subplots(figsize=(8, 4.8))
        for call, (count, colour, label, told) in usual.items():
            group = [one for one in groups[call] if not one.counts.get("new")]
            axis.plot(
                sizes, [float(told(n, TRADING * n)) for n in sizes], color=colour, label=label
            )
            size = [one.counts[count] for one in group]
            axis.plot(size, [one.gas for one in group], "o", color=colour, markersize=5)
        axis.axhline(gas.transaction_gas_cap(), color=GREY, linestyle="--")
        axis.annotate(
            "most that one transaction may take", (2, gas.transaction_gas_cap()),
            xytext=(0, -14), textcoords="offset points", color=GREY,
        )  # fmt: skip
        axis.set(
            xscale="log", yscale="log", xlabel="orders in the book, or seats in the batch",
            ylabel="gas", title="Table where 55 % of orders trade (lines), unseen books (points)",
        )  # fmt: skip
        axis.legend(loc="lower right")
        figure.savefig(path)
        plt.close(figure)


def hinted_gas(orders: gas.Count, matched: gas.Count) -> gas.Count:
    """Return the gas of clearing with a hint."""
    return gas.clear_gas(orders, matched, hinted=True)


def main() -> None:
    """Measure, and fit or check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="the written table on unseen books")
    parser.add_argument("--replay", action="store_true", help="run on a second EVM too")
    parser.add_argument("--plot", type=Path, help="PNG to draw the checked books into")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    options = parser.parse_args()
    if not options.check:
        seen = measure(FITTED, seed=1).seen + measure_mechanisms(FITTED, seed=1).seen
        fits = {call: fit(group) for call, group in by_call(seen).items()}
        write(fits, gas.TABLE)
        gas.table.cache_clear()
    done, others = measure(UNSEEN, seed=2), measure_mechanisms(UNSEEN, seed=2)
    found = errors(done.seen + others.seen)
    same = {rules: replay(done, rules) for rules in ("prague", "osaka")} if options.replay else {}
    if options.plot:
        plot(done.seen, options.plot)
    if options.json:
        print(json.dumps({"error": found, "replay": same}, indent=1))
    else:
        print(f"{'call':<18}{'transactions':>13}{'largest error':>15}")
        for call, (number, error) in found.items():
            print(f"{call:<18}{number:>13}{error:>15.3%}")
        for rules, (equal, number) in same.items():
            print(f"{equal} of {number} transactions took the same gas on @ethereumjs/vm, {rules}")
    worst = max(error for _, error in found.values())
    unequal = any(equal < number for equal, number in same.values())
    sys.exit(f"an error beyond {ALLOWED:.0%}" if worst > ALLOWED else int(unequal))


if __name__ == "__main__":
    main()
