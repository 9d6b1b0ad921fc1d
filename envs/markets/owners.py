"""Owners of a book's orders: sums, shares and comparisons by seat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True, eq=False)
class Owners:
    """Which seat every order of a book is from, the same for all markets and intervals.

    Build it once, by `Owners.of`: nothing here then waits for an accelerator.

    Attributes:
        seat: int64 [M].
        slots: int64 [L, N] the orders of each seat; M where it has fewer than L.
        place: int64 [M] where in the flattened `slots` an order stands.
        green: [M] bool, whether an order's energy is from the seat's own sun; None where that is as
            the seat's place has it.
    """

    seat: Tensor
    slots: Tensor
    place: Tensor
    green: Tensor | None = None

    @classmethod
    def of(cls, seat: Tensor, seats: int, green: Tensor | None = None) -> Owners:
        """Return the owners of orders whose seats are `seat`, int64 [M], among so many seats.

        Raises ValueError for a seat that is not among them, or another number of `green`.
        """
        if seat.dim() != 1 or seat.dtype != torch.int64:
            raise ValueError(
                f"owners: seat is {seat.dtype} of shape {tuple(seat.shape)}, expected torch.int64 "
                "[orders]: one number per order of the book"
            )
        M = len(seat)
        bad = ((seat < 0) | (seat >= seats)).nonzero()
        if len(bad):
            order = int(bad[0, 0])
            raise ValueError(
                f"owners: seat of order {order} is {int(seat[order])}, expected 0 to {seats - 1}"
            )
        if green is not None and green.shape != seat.shape:
            raise ValueError(
                f"owners: green has shape {tuple(green.shape)}, expected {(M,)}: one value per "
                "order of the book"
            )
        by_seat = seat.argsort(stable=True)
        owner, count = seat[by_seat], torch.bincount(seat, minlength=seats)
        rank = torch.arange(M, device=seat.device) - (count.cumsum(0) - count)[owner]
        L = max(int(count.max()) if seats else 0, 1)
        slots = torch.full((L, seats), M, device=seat.device)
        slots[rank, owner] = by_seat
        place = torch.empty_like(seat).scatter(0, by_seat, rank * seats + owner)
        return cls(seat, slots, place, green)

    @property
    def seats(self) -> int:
        """Number of seats, N."""
        return self.slots.shape[1]

    @cached_property
    def one_each(self) -> bool:
        """Whether order n is seat n's only one."""
        number = torch.arange(self.seats, device=self.seat.device)
        return torch.equal(self.seat, number)

    def by_seat(self, values: Tensor, padding: float = 0.0) -> Tensor:
        """Return what the orders [..., M] of each seat have, [..., L, N]."""
        rows = pad(values, (0, 1), value=padding).index_select(-1, self.slots.flatten())
        return rows.unflatten(-1, self.slots.shape)

    def by_order(self, values: Tensor) -> Tensor:
        """Return what every order has of [..., L, N]: the reverse of `by_seat`."""
        return values.flatten(-2).index_select(-1, self.place)

    def total(self, values: Tensor) -> Tensor:
        """Return the sums by seat [..., N] of what orders have, [..., M]."""
        return self.by_seat(values).sum(-2)

    def of_seat(self, values: Tensor) -> Tensor:
        """Return to every order what its seat has, [..., M] of [..., N]."""
        return values.index_select(-1, self.seat)

    def in_line(self, kw: Tensor, rank: Tensor, total_kw: Tensor) -> Tensor:
        """Fill every seat's orders up to its total, the least rank first, equal ones pro rata.

        Args:
            kw: [B, M], not negative.
            rank: [B, M].
            total_kw: [B, N].

        Returns:
            what is filled of each order, [B, M].
        """
        before_kw, level_kw = self.line(kw, rank)
        return kw * ((self.of_seat(total_kw) - before_kw) / level_kw).clamp(0, 1)

    def line(self, kw: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
        """Return what of a seat's power stands before an order, and what stands level with it.

        Args:
            kw: [B, M], not negative.
            rank: [B, M], the least first.

        Returns:
            both [B, M]; the second, with the order's own, is above 0.
        """
        rows, ranks = self.by_seat(kw), self.by_seat(rank)
        before_kw, level_kw = torch.zeros_like(rows), torch.zeros_like(rows)
        for one, of in zip(rows.split(1, -2), ranks.split(1, -2), strict=True):
            before_kw = before_kw + one * (of < ranks)
            level_kw = level_kw + one * (of == ranks)
        level_kw = level_kw.clamp(min=torch.finfo(kw.dtype).tiny)
        return self.by_order(before_kw), self.by_order(level_kw)
