"""Ledgers from the command line: `python -m ledger_sim --help`."""

from __future__ import annotations

import sys

from ledger_sim.cli import main

if __name__ == "__main__":
    sys.exit(main())
