"""Ledger studies: load, trilemma, published rankings, hold-out predictions."""
