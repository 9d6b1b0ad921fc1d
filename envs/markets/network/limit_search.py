"""Search for the best trades under a feeder's limits: where its markets stand between rounds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from gridbazaar.envs.grid.power_flow import Solution
from gridbazaar.envs.markets.network.limit_rows import LimitRows
from gridbazaar.envs.markets.network.network_dispatch import Dispatch
from gridbazaar.envs.markets.network.trade_limits import at, flow
from gridbazaar.envs.markets.protocol import GridContext

# Limits that enter the programme in one round, the most broken ones; others follow if need be.
_NEW_ROWS = 8
# From here on the tangents of the most broken rows stay: the best trades may lie between two
# states whose programmes take turns.
CUT_FROM, _CUTS = 3, 2
# From here on a row that is broken is aimed at more strictly, by at most so many of its units.
_STRICTER_FROM, _STRICTER_BY = 8, 10.0
# Times that trades which no state carries are halved, to find a state to linearise at.
_HALVINGS = 6


@dataclass(frozen=True)
class Search:
    """Where the markets still sought for stand.

    Attributes:
        left: [R] their numbers.
        cleared_kw: [R, N] of the last programme, and whether it was solved, [R].
        prices: [R, 3, N] EUR/kWh of it: the price, and its parts energy and loss.
        known_kw: [R, N] the last trades that a state carried.
        binding: [R, K] rows that have been broken.
        stricter: [R, K] by how much a row is aimed at below its ceiling.
        cut_effect, cut_room: [R, C, N] and [R, C] tangents kept from earlier rounds.
    """

    left: Tensor
    cleared_kw: Tensor
    prices: Tensor
    solved: Tensor
    known_kw: Tensor
    binding: Tensor
    stricter: Tensor
    cut_effect: Tensor
    cut_room: Tensor

    @classmethod
    def start(cls, cleared_kw: Tensor, rows: LimitRows) -> Search:
        """Begin with the trades of the auction, which no programme has priced."""
        nothing, none = torch.zeros_like(cleared_kw), torch.zeros_like(rows.ceiling)
        left = torch.arange(len(cleared_kw), device=cleared_kw.device)
        solved = torch.zeros_like(left, dtype=torch.bool)
        cuts = nothing.unsqueeze(1)[:, :0]
        prices = nothing.unsqueeze(1).expand(-1, 3, -1)
        return cls(left, cleared_kw, prices, solved, nothing, none > 0, none, cuts, nothing[:, :0])

    def of(self, rows: Tensor) -> Search:
        """Keep some of the markets."""
        return Search(*[getattr(self, field.name)[rows] for field in fields(self)])

    def to(self, out: Dispatch) -> Search:
        """Go to the programme's trades, or to none where it was not solved."""
        x = out.cleared_kw.where(out.found.unsqueeze(-1), 0.0)
        prices = torch.stack([out.price, out.energy, out.loss], 1)
        return replace(self, cleared_kw=x, prices=prices, solved=out.found)

    def pressed(self, excess: Tensor, unit: Tensor, count: int) -> Search:
        """Let the rows that are broken most bind, and late in the search more strictly."""
        worst = excess.topk(min(_NEW_ROWS, excess.shape[1]), 1)
        binding = self.binding | self.binding.scatter(1, worst.indices, worst.values > 0)
        stricter = self.stricter
        if count >= _STRICTER_FROM:
            stricter = stricter + excess.clamp(0, _STRICTER_BY) * unit
        return replace(self, binding=binding, stricter=stricter)

    def listed(self) -> tuple[Tensor, Tensor]:
        """Return the numbers [R, K] of the rows that bind, and which of them are not padding."""
        most = int(self.binding.sum(1).max())
        index = (~self.binding).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
        return index, self.binding.gather(1, index)

    def cut(self, effect: Tensor, room: Tensor, excess: Tensor) -> Search:
        """Keep the tangents of the rows that are broken most; the others' become no rows."""
        worst = excess.topk(min(_CUTS, excess.shape[1]), 1)
        seats = effect.shape[-1]
        kept = effect.gather(1, worst.indices.unsqueeze(-1).expand(-1, -1, seats))
        kept = kept * (worst.values > 1).unsqueeze(-1)
        return replace(
            self,
            cut_effect=torch.cat([self.cut_effect, kept], 1),
            cut_room=torch.cat([self.cut_room, room.gather(1, worst.indices)], 1),
        )


def carried(
    grid: GridContext, cleared_kw: Tensor, known_kw: Tensor
) -> tuple[Tensor, Solution, Tensor]:
    """Return trades [R, N] that a state carries, that state, and whether they are `cleared_kw`.

    Trades that no state carries move half-way to those known to be carried, again and again.
    """
    solution = flow(grid, cleared_kw)
    whole = solution.converged
    for _ in range(_HALVINGS):
        rows = (~solution.converged).nonzero().squeeze(1)
        if not len(rows):
            break
        middle = (cleared_kw[rows] + known_kw[rows]) / 2
        cleared_kw = cleared_kw.index_copy(0, rows, middle)
        solution = solution.replaced(rows, flow(at(grid, rows), middle))
    return cleared_kw, solution, whole


@dataclass(frozen=True)
class Best:
    """The best trades that the feeder bears so far, [R, N], and whether there are any, [R].

    prices: [R, 3, N] EUR/kWh, as `Search` has them; surplus, losses: [R] EUR/h, the latter what
    they cost.
    """

    cleared_kw: Tensor
    prices: Tensor
    surplus: Tensor
    losses: Tensor
    found: Tensor

    @classmethod
    def none(cls, like: Tensor) -> Best:
        """Begin without any."""
        nothing = torch.zeros_like(like)
        surplus = nothing[:, 0] - torch.inf
        prices = nothing.unsqueeze(1).repeat(1, 3, 1)
        return cls(nothing, prices, surplus, nothing[:, 0], surplus > 0)

    def or_better(
        self, rows: Tensor, cleared_kw: Tensor, prices: Tensor, surplus: Tensor, losses: Tensor
    ) -> Best:
        """Put in what has more surplus in the markets `rows`."""
        better = surplus > self.surplus[rows]
        rows = rows[better]
        return Best(
            self.cleared_kw.index_copy(0, rows, cleared_kw[better]),
            self.prices.index_copy(0, rows, prices[better]),
            self.surplus.index_copy(0, rows, surplus[better]),
            self.losses.index_copy(0, rows, losses[better]),
            self.found.index_fill(0, rows, True),
        )
