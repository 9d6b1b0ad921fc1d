"""Set of runs: a folder with one run per training seed, of one configuration otherwise."""

from __future__ import annotations

import re
from pathlib import Path

PLAN = "plan.json"  # as gridbazaar.agents.learning.campaign writes it
_SEED = re.compile(r"seed_(\d+)")


def name_of(seed: int) -> str:
    """Return the name of a seed's run in its set."""
    return f"seed_{seed}"


def runs_in(folder: Path | str) -> list[Path]:
    """Return the runs of a set by seed; none where the folder is no set."""
    found = {}
    for path in Path(folder).glob("seed_*"):
        match = _SEED.fullmatch(path.name)
        if match and path.is_dir():
            found[int(match[1])] = path
    return [found[seed] for seed in sorted(found)]


def members(bidder: str) -> dict[str, str]:
    """Return what plays for a bidder: seed -> name or folder; "" -> itself where it is no set."""
    runs = runs_in(bidder) if Path(bidder).is_dir() else []
    return {path.name.partition("_")[2]: str(path) for path in runs} or {"": bidder}


def points_in(folder: Path | str) -> list[Path]:
    """Return the sets and runs of a sweep's folder, by name; none where it is no sweep."""
    path = Path(folder)
    if runs_in(path) or not (path / PLAN).is_file():
        return []
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
