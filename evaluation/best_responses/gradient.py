"""Gradient best response: prices and quantities moved along what the coalition earns by them.

The slopes are those of a smoothed uniform auction (`gridbazaar.envs.smoothing`), whatever the
market; what they propose is judged under the market itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.evaluation.best_responses.protocol import BEST_RESPONSES
from gridbazaar.evaluation.deviations import Arena, Change, Response

_STEPS, _REACH = 3, 0.1  # of the largest entry, in each step


@BEST_RESPONSES.register("gradient")
def gradient(arena: Arena, coalition: tuple[int, ...], days: Tensor) -> list[Response]:
    """Climb from what the bidder would do, by entries that the seats decide on."""
    acts = set.intersection(*(arena.decides(seat) for seat in coalition))
    decided = {
        "must_run": "must_run_price" in acts,
        "value": "value" in acts,
        "margin": "margin" in acts,
        "share": "share" in acts,
        "declared": "correction" in acts and arena.commits,
    }
    moved = torch.tensor([decided[name] for name in Change._fields])
    change, responses = Change(), []
    for _ in range(_STEPS):
        slope = arena.slope(coalition, change, days).cpu() * moved
        largest = float(slope.abs().max())
        if largest == 0:
            break
        step = (slope * (_REACH / largest)).tolist()
        change = Change(*(own + more for own, more in zip(change, step, strict=True)))
        change = change._replace(margin=max(change.margin, 0.0), share=min(change.share, 1.0))
        responses.append(Response(change.words, change=change))
    return responses
