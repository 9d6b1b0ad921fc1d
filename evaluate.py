"""Comparison from a checkout: `python evaluate.py name=first`, as `gridbazaar evaluate` does it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gridbazaar.command_line import evaluate


def main(words: Sequence[str]) -> int:
    """Evaluate as the words say; return the exit code."""
    return evaluate(words, called="python evaluate.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
