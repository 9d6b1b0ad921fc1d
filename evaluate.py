"""Compare bidders on held-out days and write results/<name>/ with its report.html.

    python evaluate.py name=demo 'bidder=[truthful,zip,runs/demo]' market=all 'ledger=[ideal,block]'
    python evaluate.py name=quick bidder=all days=7 seed=3 overwrite=true
    python evaluate.py --list        # every task, market, ledger, bidder and preset

A bidder is a registered name or the folder of a run or checkpoint. Words are overrides of
configs/evaluate.yaml; that file names every option and its default. `--import my_module` and
`--config-dir my_folder` bring variants and YAML of your own, see docs/plugins.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gridbazaar.configs import take_words
from gridbazaar.errors import GridBazaarError
from gridbazaar.evaluation.config import configure, listing


def main(words: Sequence[str]) -> int:
    """Evaluate as the words say; return the exit code."""
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    try:
        words = take_words(words)
        if "--list" in words:
            print(listing())
            return 0
        config = configure(words)
        from gridbazaar.evaluation.results import evaluate, table

        folder = evaluate(config)
    except GridBazaarError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    print(table(folder))
    print(f"\nreport: {folder / 'report.html'}")
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
