"""Pending orders of a layer when a slot ends, as a flat list."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.ledger_sim.protocol import Inclusions


@dataclass(frozen=True, slots=True)
class PendingOrders:
    """List of M orders of earlier slots that a layer has not handed on.

    Attributes:
        environment, seat, slot: int64 [M], who sent each, and when.
        time_s: float64 [M], seconds since the day's start: when it comes in, unless the layer says
            otherwise.
    """

    environment: Tensor
    seat: Tensor
    slot: Tensor
    time_s: Tensor

    @classmethod
    def none(cls, device: torch.device) -> PendingOrders:
        """Return an empty list."""
        index = torch.empty(0, dtype=torch.int64, device=device)
        return cls(index, index, index, index.double())

    def joined(
        self, environment: Tensor, seat: Tensor, slot: Tensor, time_s: Tensor
    ) -> PendingOrders:
        """Return the list with more orders at its end, [L] each."""
        return PendingOrders(
            torch.cat([self.environment, environment]),
            torch.cat([self.seat, seat]),
            torch.cat([self.slot, slot]),
            torch.cat([self.time_s, time_s]),
        )

    def with_seats(self, waiting: Tensor, slot: int, time_s: Tensor) -> PendingOrders:
        """Return the list with the orders of `slot` where `waiting` bool [B, N]; `time_s` too."""
        environment, seat = waiting.nonzero(as_tuple=True)
        return self.joined(
            environment, seat, torch.full_like(seat, slot), time_s[environment, seat].double()
        )

    def of(self, chosen: Tensor) -> PendingOrders:
        """Return those chosen by bool [M] or by int64 [K]."""
        return PendingOrders(
            self.environment[chosen], self.seat[chosen], self.slot[chosen], self.time_s[chosen]
        )

    def find(self, environment: Tensor, seat: Tensor, slot: Tensor) -> Tensor:
        """Return where orders stand in the list, int64 [K]; each must be there."""
        here, wanted = (self.environment, self.seat, self.slot), (environment, seat, slot)
        key, lookup = torch.zeros_like(self.seat), torch.zeros_like(seat)
        for own, other in zip(here, wanted, strict=True):
            size = int(own.max()) + 1 if len(own) else 1
            key, lookup = key * size + own, lookup * size + other
        sorted_key, position = key.sort()
        return position[torch.searchsorted(sorted_key, lookup)]

    def released(
        self, start_s: float, end_s: float, open_s: Tensor | None = None
    ) -> tuple[Inclusions | None, PendingOrders]:
        """Return what comes in by `end_s`, in s since `start_s` and without fee, and the rest.

        With `open_s` [B, N], s since the day's start, nobody comes in before that.
        """
        if not self.seat.numel():
            return None, self
        comes_s = self.time_s
        if open_s is not None:
            comes_s = torch.maximum(comes_s, open_s[self.environment, self.seat])
        due = comes_s <= end_s
        came = Inclusions(
            self.environment[due],
            self.seat[due],
            self.slot[due],
            comes_s[due] - start_s,
            torch.zeros_like(comes_s[due]),
        )
        return came, self.of(comes_s > end_s)

    def pick_rows(self, rows: Tensor) -> PendingOrders:
        """Return the orders of some environments, int64 [R], numbered by their place in `rows`."""
        place, index = (rows.unsqueeze(1) == self.environment).nonzero(as_tuple=True)
        picked = self.of(index)
        return PendingOrders(place, picked.seat, picked.slot, picked.time_s)

    def replace_rows(self, rows: Tensor, other: PendingOrders) -> PendingOrders:
        """Return the list with the orders of some environments, int64 [R], replaced."""
        kept = self.of(~torch.isin(self.environment, rows))
        return kept.joined(rows[other.environment], other.seat, other.slot, other.time_s)
