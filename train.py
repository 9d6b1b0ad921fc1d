"""Training from a checkout: `python train.py name=first`, as `gridbazaar train` does it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gridbazaar.command_line import train


def main(words: Sequence[str]) -> int:
    """Train as the words say; return the exit code."""
    return train(words, called="python train.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
