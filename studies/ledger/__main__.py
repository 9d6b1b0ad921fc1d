"""Ledger studies from the command line: `python -m gridbazaar.studies.ledger --help`."""

import sys

from gridbazaar.studies.ledger.cli import main

if __name__ == "__main__":
    sys.exit(main())
