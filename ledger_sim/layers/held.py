"""Orders that a layer still holds when a slot ends, as a flat list."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.ledger_sim.protocol import Inclusions


@dataclass(frozen=True, slots=True)
class Held:
    """M orders of earlier slots.

    Attributes:
        environment, seat, slot: int64 [M], who sent each, and when.
        ready_s: float64 [M], when it comes in, seconds since the day's start.
    """

    environment: Tensor
    seat: Tensor
    slot: Tensor
    ready_s: Tensor

    @classmethod
    def nothing(cls, device: torch.device) -> Held:
        """Return an empty list."""
        index = torch.empty(0, dtype=torch.int64, device=device)
        return cls(index, index, index, index.double())

    def joined(self, environment: Tensor, seat: Tensor, slot: Tensor, ready_s: Tensor) -> Held:
        """Return the list with more orders at its end, [L] each."""
        return Held(
            torch.cat([self.environment, environment]),
            torch.cat([self.seat, seat]),
            torch.cat([self.slot, slot]),
            torch.cat([self.ready_s, ready_s]),
        )

    def with_seats(self, waiting: Tensor, slot: int, ready_s: Tensor) -> Held:
        """Return the list with the orders of `slot` where `waiting` bool [B, N]; `ready_s` too."""
        environment, seat = waiting.nonzero(as_tuple=True)
        return self.joined(
            environment, seat, torch.full_like(seat, slot), ready_s[environment, seat].double()
        )

    def released(
        self, start_s: float, end_s: float, open_s: Tensor | None = None
    ) -> tuple[Inclusions | None, Held]:
        """Return what comes in by `end_s`, in s since `start_s` and without fee, and the rest.

        With `open_s` [B, N], s since the day's start, nobody comes in before that.
        """
        if not self.seat.numel():
            return None, self
        environment, seat, slot, ready_s = self.environment, self.seat, self.slot, self.ready_s
        comes_s = ready_s
        if open_s is not None:
            comes_s = torch.maximum(ready_s, open_s[environment, seat])
        due, late = comes_s <= end_s, comes_s > end_s
        came = Inclusions(
            environment[due],
            seat[due],
            slot[due],
            comes_s[due] - start_s,
            torch.zeros_like(comes_s[due]),
        )
        return came, Held(environment[late], seat[late], slot[late], ready_s[late])
