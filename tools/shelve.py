"""Trained bidder from a run to the package's shelf.

`python tools/shelve.py runs/demo/seed_0 learned` copies weights, progress and settings, without
what only training needs. The card, agents/trained/<name>/README.md, is written by hand; a test
plays the bidder and holds it to the card.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from gridbazaar.agents.learning import checkpoints, digests
from gridbazaar.agents.learning.run_folder import CONFIG, VERSIONS

SHELF = Path(__file__).parents[1] / "agents" / "trained"


def main() -> None:
    """Copy the best checkpoint of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    told = parser.parse_args()
    best, target = checkpoints.find(told.run), SHELF / told.name
    card = target / "README.md"
    text = card.read_text() if card.is_file() else f"# {told.name}\n"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in (checkpoints.WEIGHTS, checkpoints.PROGRESS):
        shutil.copyfile(best / name, target / name)
    digests.write(target)
    for name in (CONFIG, VERSIONS):
        shutil.copyfile(told.run / name, target / name)
    card.write_text(text)
    print(target)


if __name__ == "__main__":
    main()
