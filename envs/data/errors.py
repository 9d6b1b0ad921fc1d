"""The error of the data rooms; an unknown name is a `ledger_sim.variants.UnknownNameError`."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be used: says what was found, what is expected and what to do."""
