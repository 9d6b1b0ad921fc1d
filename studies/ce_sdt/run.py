"""CE-SDT's experiment (Wang et al. 2023): shares of generators, users, and readings.

    python studies/ce_sdt/run.py --plot results/ce_sdt.svg
    python studies/ce_sdt/run.py --profiles nsw ausgrid homes simbench --data ../shared/data \
        --write docs/ce_sdt.md --plot docs/images/ce_sdt.svg
    python studies/ce_sdt/run.py --draws 4 --no-readings   # a quick look

The plot, the sizes and the readings are of the first set of profiles; docs/ce_sdt.md says what each
figure means. `simbench` ships with the project, what others need is told where it is missing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from gridbazaar import files, randomness
from gridbazaar.errors import GridBazaarError, in_one_line
from gridbazaar.studies import places
from gridbazaar.studies.ce_sdt import profiles, report, sweeps
from gridbazaar.studies.ce_sdt.community import read_prices
from gridbazaar.studies.ce_sdt.fit import fitted
from gridbazaar.studies.ce_sdt.plot import draw
from gridbazaar.studies.ce_sdt.report import Case
from gridbazaar.studies.ce_sdt.rules import Rules
from gridbazaar.studies.pages import write

TABLES = ("profiles", "headline", "fitted", "traditional", "sizes", "readings")


def study(options: argparse.Namespace) -> dict[str, str]:
    """Play what the options ask for; return the tables by name and write what was asked."""
    prices, rules, sizes = read_prices(), Rules(users=options.size), tuple(options.users)
    told = (prices, sweeps.SHARES, options.draws, options.seed, True)
    sets = {name: profiles.read(name, options.data) for name in options.profiles}
    chosen, fits, by_hours = [], [], []
    for name, kind in sets.items():
        _tell(f"{name}: shares")
        rows, by_hour = sweeps.by_share(kind, rules, *told)
        chosen.append(Case(name, rules.level, rows))
        by_hours.append(by_hour)
        _tell(f"{name}: fit of two of the paper's figures")
        found = fitted(kind, rules, prices, max(1, options.draws // 2), options.seed)
        fits.append(Case(name, found.level, sweeps.by_share(kind, found, *told)[0]))
    first = sets[options.profiles[0]]
    _tell("sizes")
    size = (prices, sizes, options.draws, options.seed)
    by_size, of_sizes = sweeps.by_users(first, rules, *size)
    by_chance, _ = sweeps.by_users(first, replace(rules, owners="drawn"), *size)
    tables = {
        "profiles": report.sources({name: kind.source for name, kind in sets.items()}, chosen),
        "headline": report.headline(chosen),
        "fitted": report.headline(fits),
        "traditional": report.traditional(chosen),
        "sizes": report.sizes(by_size, by_chance),
    }
    if options.readings:
        few = (prices, (0.5, 0.7), max(1, options.draws // 2), options.seed)
        tables["readings"] = report.readings(sweeps.by_reading(first, rules, *few, _tell))
    if options.plot:
        draw(chosen[0].rows, by_hours[0], sizes, of_sizes, options.plot)
    _save(chosen, fits, options.csv)
    return tables


def _save(chosen: Sequence[Case], fits: Sequence[Case], path: Path) -> None:
    """Write every row, whole or not at all."""
    frame = pd.concat(
        [case.rows.assign(profiles=case.name, level=case.level) for case in (*chosen, *fits)]
    )
    files.write(path, frame.to_csv(index=False))


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run the study as the words say; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = ", ".join(profiles.SETS)
    parser.add_argument("--profiles", nargs="+", default=["simbench"], help=known)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of their files")
    parser.add_argument("--size", type=int, default=Rules.users, help="users of a community")
    parser.add_argument("--draws", type=int, default=16, help="communities of each share")
    parser.add_argument("--users", type=int, nargs="+", default=sweeps.USERS, help="sizes swept")
    parser.add_argument("--seed", type=int, default=0, help="of the first community")
    parser.add_argument("--readings", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--csv", default="results/ce_sdt.csv", type=places.file)
    parser.add_argument("--write", type=places.page(*TABLES), help="put the tables into this page")
    parser.add_argument("--plot", type=places.plot, help="write Figures 5 to 10 here")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    try:
        if options.draws < 1 or min(options.size, *options.users) < 2:
            parser.error("--draws is at least 1, --size and --users are at least 2")
        randomness.whole_seed(options.seed, options.draws)
        for path in filter(None, (options.csv, options.plot)):
            path.parent.mkdir(parents=True, exist_ok=True)
        tables = study(options)
        print("\n\n".join(f"{name}\n{table}" for name, table in tables.items()))
        if options.write:
            write(options.write, tables)
    except (GridBazaarError, OSError) as error:
        print(f"run.py: {in_one_line(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
