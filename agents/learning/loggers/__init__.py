"""Loggers of training scalars, one a file."""

from gridbazaar.agents.learning.loggers.protocol import LOGGERS, Logger, Place, check

__all__ = ["LOGGERS", "Logger", "Place", "check"]
