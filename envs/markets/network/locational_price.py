"""Locational marginal prices: trades of largest surplus under the feeder's limits."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Count, Tolerance
from gridbazaar.envs.grid.limits import Limits
from gridbazaar.envs.grid.power_flow import Solution
from gridbazaar.envs.markets.auctions.uniform_auction import UniformAuction, UniformAuctionConfig
from gridbazaar.envs.markets.network.limit_rows import LimitRows
from gridbazaar.envs.markets.network.network_dispatch import Dispatch, dispatch, times
from gridbazaar.envs.markets.network.trade_limits import (
    FeederMarketConfig,
    at,
    broken_by,
    flow,
    grid_of,
)
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, GridContext, Market, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import mean_price, seat_price

# Limits that enter the programme in one round, the most broken ones; others follow if need be.
_NEW_ROWS = 8
# From here on the tangents of the most broken rows stay: the best trades may lie between two
# states whose programmes take turns.
_CUT_FROM, _CUTS = 3, 2
# From here on a row that is broken is aimed at more strictly, by at most so many of its units.
_STRICTER_FROM, _STRICTER_BY = 8, 10.0
# Times that trades which no state carries are halved, to find a state to linearise at.
_HALVINGS = 6


class LocationalPriceConfig(FeederMarketConfig, UniformAuctionConfig):
    """Parameters."""

    regularisation: Annotated[float, Field(gt=0, le=1e-3)] = Field(
        description="quadratic term over the spread of the limit prices; makes trades unique",
        json_schema_extra={"unit": "1"},
    )
    tolerance: Annotated[float, Field(gt=0, lt=1e-3)] = Field(
        description="of the programme's gap and residuals, scaled to the order book",
        json_schema_extra={"unit": "1"},
    )
    max_steps: Count = Field(description="of the interior-point method")
    max_rounds: Count = Field(description="of programme and power flow")
    gap: Tolerance = Field(
        description="what another round may still promise beyond the surplus reached, of it",
    )


@MARKETS.register("locational_price")
class LocationalPrice(Market):
    """Locational marginal prices from the linearised power flow, held to the AC power flow.

    The uniform auction clears first; where the AC power flow of background and trades breaks no
    limit, its result stands. Elsewhere the trades maximise the surplus under the limits,
    linearised at the AC state of the trades of the round before (sequential linear programming),
    until the AC power flow agrees and another round promises no more than `gap`. A seat's price is
    the worth of energy less the worth of what a kWh there uses of the limits: energy and
    congestion. The prices carry no losses: the supplier serves them, as under all mechanisms. What
    buyers pay beyond what sellers receive is the congestion rent; it goes to the market operator.

    Source: Bohn, Caramanis and Schweppe (1984), "Optimal pricing in electrical networks over space
    and time", RAND Journal of Economics 15(3); on feeders: Bai et al. (2018), "Distribution
    locational marginal pricing (DLMP) for congestion management and voltage support", IEEE Trans.
    Power Systems 33(4).
    """

    Config = LocationalPriceConfig
    claims: frozenset[Claim] = frozenset({"no_deficit", "individually_rational"})

    no_gradient = "under limits, programmes and power flows take turns up to a tolerance"

    def __init__(self, config: LocationalPriceConfig):
        self.config = config
        self._free = UniformAuction(config)

    @torch.no_grad()
    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match all orders; nothing where no trades are found that the feeder bears."""
        free = self._free.clear(orders, context)
        grid = grid_of(context, self.config, orders)
        if grid is None:
            return free
        rows, limits = broken_by(grid, free.cleared_kw)
        if not len(rows):
            return free
        best, rounds = self._congested(
            Orders(
                orders.quantity_kw[rows].double(),
                orders.limit_price[rows].double(),
                orders.arrival_s[rows],
                orders.owners,
            ),
            at(grid, rows),
            limits,
            free.cleared_kw[rows].double(),
        )
        dtype = free.price.dtype
        cleared, price, found = best.cleared_kw.to(dtype), best.price.to(dtype), best.found
        limit_price = orders.limit_price[rows]
        price = seat_price(cleared * price, cleared, limit_price) * (cleared != 0)
        cleared_kw = free.cleared_kw.index_copy(0, rows, cleared)
        all_prices = free.price.index_copy(0, rows, price)
        return Clearing(
            cleared_kw=cleared_kw,
            price=all_prices,
            payment_eur=cleared_kw * all_prices * context.slot_h,
            reference_price=free.reference_price.index_copy(0, rows, mean_price(cleared, price)),
            converged=free.converged.index_copy(0, rows, found),
            iterations=free.iterations.index_copy(0, rows, rounds),
        )

    def _congested(
        self, orders: Orders, grid: GridContext, limits: Limits, cleared_kw: Tensor
    ) -> tuple[_Best, Tensor]:
        """Return the best trades found for markets [R] and the rounds [R].

        Every round looks at the AC power flow of the last trades, and where they hold, keeps them
        if none that held were better. Then it finds the best trades with the limits linearised
        there, until these promise no more than `gap` beyond the trades they start from.
        """
        rows, best = LimitRows.of(grid, limits), _Best.none(cleared_kw)
        at_hand = _Search.start(cleared_kw, rows)
        taken = torch.ones_like(at_hand.left)
        for count in range(self.config.max_rounds + 1):
            left = at_hand.left
            here, mine = at(grid, left), rows.of_markets(left)
            x, solution, whole = _carried(here, at_hand.cleared_kw, at_hand.known_kw)
            state = mine.state(here, solution, x)
            excess = (state - mine.ceiling) / mine.unit
            holds = (excess.amax(1) <= 1) & solution.converged & whole & at_hand.solved
            surplus = -(orders.limit_price[left] * x).sum(1)
            best = best.or_better(left[holds], x[holds], at_hand.price[holds], surplus[holds])
            if count == self.config.max_rounds:
                break
            at_hand = replace(at_hand, known_kw=x).pressed(excess, mine.unit, count)
            index, used = at_hand.listed()
            effect = mine.slopes(here, solution, x, index) * used.unsqueeze(-1)
            aim = (mine.ceiling - at_hand.stricter - state).gather(1, index)
            room = aim + times(effect, x)
            out = self._solve(orders, at_hand, effect, room)
            promised = -(orders.limit_price[left] * out.cleared_kw).sum(1)
            there = holds & out.found & (promised <= surplus * (1 + self.config.gap))
            if count >= _CUT_FROM:
                at_hand = at_hand.cut(effect, room, excess.gather(1, index) * used)
            go_on = (~there).nonzero().squeeze(1)
            if not len(go_on):
                break
            at_hand = at_hand.to(out).of(go_on)
            taken = taken.index_fill(0, at_hand.left, count + 1)
        return best, taken

    def _solve(self, orders: Orders, at_hand: _Search, effect: Tensor, room: Tensor) -> Dispatch:
        """Solve the programme of the markets at hand under their rows and earlier cuts."""
        c = self.config
        return dispatch(
            orders.quantity_kw[at_hand.left],
            orders.limit_price[at_hand.left],
            torch.cat([effect, at_hand.cut_effect], 1),
            torch.cat([room, at_hand.cut_room], 1),
            c.regularisation,
            c.tolerance,
            c.max_steps,
        )


@dataclass(frozen=True)
class _Search:
    """Where the markets still sought for stand.

    Attributes:
        left: [R] their numbers.
        cleared_kw, price: [R, N] of the last programme, and whether it was solved, [R].
        known_kw: [R, N] the last trades that a state carried.
        binding: [R, K] rows that have been broken.
        stricter: [R, K] by how much a row is aimed at below its ceiling.
        cut_effect, cut_room: [R, C, N] and [R, C] tangents kept from earlier rounds.
    """

    left: Tensor
    cleared_kw: Tensor
    price: Tensor
    solved: Tensor
    known_kw: Tensor
    binding: Tensor
    stricter: Tensor
    cut_effect: Tensor
    cut_room: Tensor

    @classmethod
    def start(cls, cleared_kw: Tensor, rows: LimitRows) -> _Search:
        """Begin with the trades of the auction, which no programme has priced."""
        nothing, none = torch.zeros_like(cleared_kw), torch.zeros_like(rows.ceiling)
        left = torch.arange(len(cleared_kw), device=cleared_kw.device)
        solved = torch.zeros_like(left, dtype=torch.bool)
        cuts = nothing.unsqueeze(1)[:, :0]
        return cls(left, cleared_kw, nothing, solved, nothing, none > 0, none, cuts, nothing[:, :0])

    def of(self, rows: Tensor) -> _Search:
        """Keep some of the markets."""
        return _Search(*[getattr(self, field.name)[rows] for field in fields(self)])

    def to(self, out: Dispatch) -> _Search:
        """Go to the programme's trades, or to none where it was not solved."""
        x = out.cleared_kw.where(out.found.unsqueeze(-1), 0.0)
        return replace(self, cleared_kw=x, price=out.price, solved=out.found)

    def pressed(self, excess: Tensor, unit: Tensor, count: int) -> _Search:
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

    def cut(self, effect: Tensor, room: Tensor, excess: Tensor) -> _Search:
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


def _carried(
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
class _Best:
    """The best trades that the feeder bears so far: [R, N], their prices, surplus [R], any [R]."""

    cleared_kw: Tensor
    price: Tensor
    surplus: Tensor
    found: Tensor

    @classmethod
    def none(cls, like: Tensor) -> _Best:
        nothing = torch.zeros_like(like)
        surplus = nothing[:, 0] - torch.inf
        return cls(nothing, nothing, surplus, surplus > 0)

    def or_better(self, rows: Tensor, cleared_kw: Tensor, price: Tensor, surplus: Tensor) -> _Best:
        """Put in what has more surplus in the markets `rows`."""
        better = surplus > self.surplus[rows]
        rows = rows[better]
        return _Best(
            self.cleared_kw.index_copy(0, rows, cleared_kw[better]),
            self.price.index_copy(0, rows, price[better]),
            self.surplus.index_copy(0, rows, surplus[better]),
            self.found.index_fill(0, rows, True),
        )
