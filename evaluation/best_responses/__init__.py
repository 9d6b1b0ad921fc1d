"""Best responses that a deviating seat may try, one method a file."""

from __future__ import annotations

from gridbazaar.evaluation.best_responses.protocol import BEST_RESPONSES, Method, propose

__all__ = ["BEST_RESPONSES", "Method", "propose"]
