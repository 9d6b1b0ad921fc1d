"""Learning algorithms, one a file."""

from gridbazaar.agents.learning.algorithm import ALGORITHMS, Algorithm, make

__all__ = ["ALGORITHMS", "Algorithm", "make"]
