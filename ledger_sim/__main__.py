"""Ledgers from the command line: `python -m gridbazaar.ledger_sim --help`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("gridbazaar.studies.ledger", run_name="__main__", alter_sys=True)
