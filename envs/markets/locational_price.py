"""Locational marginal prices: the best trades that the feeder bears, priced by where they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from envs.feeder.limits import Limits
from envs.feeder.power_flow import Solution
from envs.markets.base import MARKETS, Claim, Clearing, Context, Orders, Place
from envs.markets.network_dispatch import Dispatch, dispatch
from envs.markets.trade_limits import (
    PERCENT,
    VOLTAGE_PU,
    FeederMarketConfig,
    at,
    broken_by,
    flow,
    place_of,
    sensitivities,
)
from envs.markets.trade_price import mean_price, seat_price
from envs.markets.uniform_auction import UniformAuction, UniformAuctionConfig

# Limits that enter the programme in one round, the most broken ones; others follow if need be.
_NEW_ROWS = 8
# Round from which the limits' offsets move half the way only.
_DAMPED_FROM = 5


class LocationalPriceConfig(FeederMarketConfig, UniformAuctionConfig):
    """Parameters.

    Attributes:
        k: of the uniform auction, where no limit binds.
        regularisation: quadratic term over the spread of the limit prices; makes trades unique.
        tolerance: of the programme's gap and residuals, scaled to the order book.
        max_steps: of the interior-point method.
        max_rounds: of programme and power flow.
    """

    regularisation: Annotated[float, Field(gt=0, le=1e-3)]
    tolerance: Annotated[float, Field(gt=0, lt=1e-3)]
    max_steps: Annotated[int, Field(gt=0)]
    max_rounds: Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class _Rows:
    """All limits as rows of `effect` x <= ceiling, [K, N] and [B, K]: voltages, then branches.

    The AC state says where the trades stand, the sensitivities where a change leads.
    """

    effect: Tensor
    along: Tensor  # [nl + nt, M] branch loading per kW at an injection, for a current's way
    ceiling: Tensor
    unit: Tensor  # [K] breach that counts as none
    idle: Tensor  # [B, K] state without trades

    @classmethod
    def of(cls, place: Place, limits: Limits) -> _Rows:
        known = sensitivities(place)
        to_seat = place.to_bus.T.double()
        voltage, along = known.vm_pu.double() @ to_seat, known.branch_percent.double()
        branch = along @ to_seat
        loading = torch.cat([limits.line_percent, limits.trafo_percent], 1)
        parts = (limits.vm_max_pu, -limits.vm_min_pu, loading, loading)
        ceiling = torch.cat(parts, 1).double()
        unit = torch.full_like(ceiling[0], PERCENT)
        unit[: 2 * len(voltage)] = VOLTAGE_PU
        rows = cls(torch.cat([voltage, -voltage, branch, -branch]), along, ceiling, unit, ceiling)
        nothing = place.background_kw @ place.to_bus.T * 0
        return replace(rows, idle=rows.state(place, flow(place, nothing), nothing.double()))

    def state(self, place: Place, solution: Solution, cleared_kw: Tensor) -> Tensor:
        """Return where each row stands, [B, K]; a branch's loading has the sign of its way."""
        injection_kw = place.background_kw + cleared_kw.to(place.to_bus) @ place.to_bus
        way = torch.where(injection_kw.double() @ self.along.T < 0, -1.0, 1.0)
        loading = torch.cat([solution.line_loading_percent, solution.trafo_loading_percent], 1)
        signed = way * loading
        seen = torch.cat([solution.vm_pu, -solution.vm_pu, signed, -signed], 1).double()
        expected = self.idle + cleared_kw.double() @ self.effect.T
        return torch.where(solution.converged.unsqueeze(-1), seen, expected)

    def of_markets(self, rows: Tensor) -> _Rows:
        return replace(self, ceiling=self.ceiling[rows], idle=self.idle[rows])


@MARKETS.register("locational_price")
class LocationalPrice:
    """Locational marginal prices from the linearised power flow, held to the AC power flow.

    The uniform auction clears first; where the AC power flow of background and trades breaks no
    limit, its result stands. Elsewhere the trades maximise the surplus under the limits,
    linearised around the trades of the round before (offset from the AC power flow, slope from the
    sensitivities), until the AC power flow agrees. A seat's price is the worth of energy less the
    worth of what a kWh there uses of the limits: energy and congestion. The prices carry no
    losses: the supplier serves them, as under all mechanisms. What buyers pay
    beyond what sellers receive is the congestion rent; it goes to the market operator.

    Source: Bohn, Caramanis and Schweppe (1984), "Optimal pricing in electrical networks over space
    and time", RAND Journal of Economics 15(3); on feeders: Bai et al. (2018), "Distribution
    locational marginal pricing (DLMP) for congestion management and voltage support", IEEE Trans.
    Power Systems 33(4).
    """

    Config = LocationalPriceConfig
    claims: ClassVar[frozenset[Claim]] = frozenset({"no_deficit", "individually_rational"})
    time_priority = False

    def __init__(self, config: LocationalPriceConfig):
        self.config = config
        self._free = UniformAuction(config)

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match all orders; nothing where no trades are found that the feeder bears."""
        free = self._free.clear(orders, context)
        place = place_of(context, self.config, *orders.quantity_kw.shape)
        if place is None:
            return free
        rows, limits = broken_by(place, free.cleared_kw)
        if not len(rows):
            return free
        cleared, price, found, rounds = self._congested(
            Orders(
                orders.quantity_kw[rows].double(),
                orders.limit_price[rows].double(),
                orders.arrival_s[rows],
            ),
            at(place, rows),
            limits,
            free.cleared_kw[rows].double(),
        )
        dtype = free.price.dtype
        stands = found.unsqueeze(-1)
        cleared, price = cleared.where(stands, 0.0).to(dtype), price.where(stands, 0.0).to(dtype)
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
        self, orders: Orders, place: Place, limits: Limits, cleared: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return trades and prices [R, N], whether they were found [R], and the rounds [R]."""
        rows, rounds = _Rows.of(place, limits), self.config.max_rounds
        price, found = torch.zeros_like(cleared), torch.zeros_like(cleared[:, 0], dtype=torch.bool)
        solved, room, binding = (
            found,
            rows.ceiling,
            torch.zeros_like(rows.ceiling, dtype=torch.bool),
        )
        left = torch.arange(len(cleared), device=cleared.device)
        taken = torch.ones_like(left)
        for count in range(rounds + 1):
            here, mine = at(place, left), rows.of_markets(left)
            solution = flow(here, cleared[left])
            state = mine.state(here, solution, cleared[left])
            excess = (state - mine.ceiling) / mine.unit
            holds = (excess.amax(1) <= 1) & solution.converged & (count > 0)
            found = found.index_copy(0, left, holds & solved[left])
            if count == rounds or bool(holds.all()):
                break
            open_ = ~holds
            left, state, excess = left[open_], state[open_], excess[open_]
            taken = taken.index_fill(0, left, count + 1)
            worst = excess.topk(min(_NEW_ROWS, excess.shape[1]), 1)
            more = binding[left].scatter(1, worst.indices, worst.values > 0) | binding[left]
            binding = binding.index_copy(0, left, more)
            new = mine.ceiling[open_] - state + cleared[left] @ rows.effect.T
            # Slopes that are too flat overshoot, now to one side and now to the other.
            new = new if count < _DAMPED_FROM else (new + room[left]) / 2
            room = room.index_copy(0, left, new)
            out = self._solve(orders, left, rows.effect, more, new)
            cleared = cleared.index_copy(
                0, left, out.cleared_kw.where(out.found.unsqueeze(-1), 0.0)
            )
            price = price.index_copy(0, left, out.price)
            solved = solved.index_copy(0, left, out.found)
        return cleared, price, found, taken

    def _solve(
        self, orders: Orders, left: Tensor, effect: Tensor, binding: Tensor, room: Tensor
    ) -> Dispatch:
        """Solve the programme of the markets `left` under their binding rows."""
        c = self.config
        most = int(binding.sum(1).max())
        index = (~binding).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
        used = binding.gather(1, index)
        return dispatch(
            orders.quantity_kw[left],
            orders.limit_price[left],
            effect[index] * used.unsqueeze(-1),
            room.gather(1, index).clamp(min=0),
            c.regularisation,
            c.tolerance,
            c.max_steps,
        )
