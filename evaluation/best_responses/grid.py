"""Grid of responses: one price or quantity of what the bidder would do, moved by so much."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.evaluation.best_responses.protocol import BEST_RESPONSES
from gridbazaar.evaluation.deviations import Arena, Change, Response

# Prices in shares of the day's range of prices; see Change.
_MUST_RUN = (-0.1, 0.1, 0.3)
_VALUE = (-0.3, -0.1, 0.1, 0.3)
_MARGIN = (0.05, 0.2)
_SHARE = (0.0, 0.5)
_DECLARED = (0.5, 1.5)


@BEST_RESPONSES.register("grid")
def grid(arena: Arena, coalition: tuple[int, ...], days: Tensor) -> list[Response]:
    """Move prices and quantities of what a seat would do, those alone that it decides on."""
    acts = set.intersection(*(arena.decides(seat) for seat in coalition))
    changes = []
    if "must_run_price" in acts:
        changes += [Change(must_run=x) for x in _MUST_RUN]
    if "value" in acts:
        changes += [Change(value=x) for x in _VALUE]
        changes += [Change(margin=x) for x in _MARGIN]
        changes += [Change(share=x) for x in _SHARE]
    if "correction" in acts and arena.commits:
        changes += [Change(declared=x) for x in _DECLARED]
    return [Response(change.words, change=change) for change in changes]
