"""Chunk sizes that keep intermediate tables of a batch within memory."""

from __future__ import annotations

_CELLS = 2**24  # numbers in the largest intermediate table


def at_once(cells: int) -> int:
    """Return how many items fit into a table to which each adds so many numbers, at least 1."""
    return max(1, _CELLS // cells)
