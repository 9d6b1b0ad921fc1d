"""Shelf of trained bidders that ship with the package: weights, where they come from, a card."""

from __future__ import annotations

from pathlib import Path

_SHELF = Path(__file__).parent / "trained"
_CONFIG = "config.yaml"


def names() -> tuple[str, ...]:
    """Return the names of the bidders on the shelf."""
    return tuple(sorted(path.parent.name for path in _SHELF.glob(f"*/{_CONFIG}")))


def place(bidder: str) -> Path:
    """Return where a trained bidder lies: on the shelf, or in the folder of this name."""
    return _SHELF / bidder if bidder in names() else Path(bidder)
