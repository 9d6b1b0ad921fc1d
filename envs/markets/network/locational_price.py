"""Locational marginal prices: trades of largest surplus under the feeder's limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Count, Share, Tolerance
from gridbazaar.envs.grid.limits import Limits
from gridbazaar.envs.markets.auctions.uniform_auction import UniformAuction, UniformAuctionConfig
from gridbazaar.envs.markets.network.limit_rows import LimitRows
from gridbazaar.envs.markets.network.limit_search import CUT_FROM, Best, Search, carried
from gridbazaar.envs.markets.network.marginal_losses import LossCost, LossModel
from gridbazaar.envs.markets.network.network_dispatch import Dispatch, dispatch, times
from gridbazaar.envs.markets.network.trade_limits import (
    FeederMarketConfig,
    at,
    broken_by,
    flow,
    grid_of,
    widened,
)
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, GridContext, Market, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import mean_price, seat_price


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
    losses: Literal["unpriced", "marginal"] = Field(
        description="marginal prices what a kW at a place adds to the losses, and weighs losses "
        "against the surplus; unpriced leaves them to the supplier",
    )
    loss_cost: Share = Field(
        description="of the way from feed-in to retail price at which lost energy is bought",
    )


@dataclass(frozen=True)
class PriceParts:
    """What locational prices are made of: price = energy - congestion - loss.

    Attributes:
        energy, congestion, loss: [B, M] EUR/kWh by order, 0 where it did not trade.
        congestion_rent_eur, loss_rent_eur: [B] what buyers pay beyond sellers for each.
        losses_cost_eur: [B] cost of losses beyond those of the background; 0 where unpriced.
    """

    energy: Tensor
    congestion: Tensor
    loss: Tensor
    congestion_rent_eur: Tensor
    loss_rent_eur: Tensor
    losses_cost_eur: Tensor


@MARKETS.register("locational_price")
class LocationalPrice(Market):
    """Locational marginal prices from the linearised power flow, held to the AC power flow.

    The uniform auction clears first; where the AC power flow of background and trades breaks no
    limit, its result stands. Elsewhere the trades maximise the surplus under the limits,
    linearised at the AC state of the trades of the round before (sequential linear programming),
    until the AC power flow agrees and another round promises no more than `gap`. A seat's price is
    the worth of energy less the worth of what a kWh there uses of the limits: energy and
    congestion. What buyers pay beyond what sellers receive is the congestion rent; it goes to the
    market operator.

    Losses are the supplier's to serve, as under all mechanisms. Where they are `unpriced` the
    prices do not carry them. Where they are `marginal`, the trades maximise the surplus less the
    cost of the losses they cause, and a price is less by that cost's slope. Then every market in
    which the auction trades goes through the programme. The rent of losses covers what they cost,
    since losses are convex; trades that lower them are paid for it out of what the supplier saves,
    so that the operator's account alone may then be negative.

    Source: Bohn, Caramanis and Schweppe (1984), "Optimal pricing in electrical networks over space
    and time", RAND Journal of Economics 15(3); on feeders: Bai et al. (2018), "Distribution
    locational marginal pricing (DLMP) for congestion management and voltage support", IEEE Trans.
    Power Systems 33(4), whose prices have all three parts.
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
        return self.clear_in_parts(orders, context)[0]

    @torch.no_grad()
    def clear_in_parts(self, orders: Orders, context: Context) -> tuple[Clearing, PriceParts]:
        """Match all orders, and say what the prices are made of."""
        free = self._free.clear(orders, context)
        grid = grid_of(context, self.config, orders)
        whole = torch.stack([free.price, free.price, torch.zeros_like(free.price)], 1)
        if grid is None:
            return free, _parts(free, whole, context)
        rows, limits = self._restricted(grid, free.cleared_kw)
        if not len(rows):
            return free, _parts(free, whole, context)
        price = torch.lerp(context.seller_floor, context.buyer_ceiling, self.config.loss_cost)[rows]
        here = at(grid, rows)
        best, rounds = self._congested(
            Orders(
                orders.quantity_kw[rows].double(),
                orders.limit_price[rows].double(),
                orders.arrival_s[rows],
                orders.owners,
            ),
            here,
            limits,
            free.cleared_kw[rows].double(),
            LossCost.of(here, price) if self.config.losses == "marginal" else None,
        )
        dtype = free.price.dtype
        cleared, prices, found = best.cleared_kw.to(dtype), best.prices.to(dtype), best.found
        limit_price = orders.limit_price[rows]
        price = seat_price(cleared * prices[:, 0], cleared, limit_price) * (cleared != 0)
        cleared_kw = free.cleared_kw.index_copy(0, rows, cleared)
        all_prices = free.price.index_copy(0, rows, price)
        out = Clearing(
            cleared_kw=cleared_kw,
            price=all_prices,
            payment_eur=cleared_kw * all_prices * context.slot_h,
            reference_price=free.reference_price.index_copy(0, rows, mean_price(cleared, price)),
            converged=free.converged.index_copy(0, rows, found),
            iterations=free.iterations.index_copy(0, rows, rounds),
        )
        cost = torch.zeros_like(free.reference_price).index_copy(0, rows, best.losses.to(dtype))
        return out, _parts(out, whole.index_copy(0, rows, prices), context, cost)

    def _restricted(self, grid: GridContext, free_kw: Tensor) -> tuple[Tensor, Limits]:
        """Return the markets [R] in which the auction's trades do not stand, and their limits."""
        if self.config.losses == "unpriced":
            return broken_by(grid, free_kw)
        rows = (free_kw != 0).any(1).nonzero().squeeze(1)
        if not len(rows):
            return rows, grid.limits
        return rows, widened(grid.limits, flow(at(grid, rows), torch.zeros_like(free_kw[rows])))

    def _congested(
        self,
        orders: Orders,
        grid: GridContext,
        limits: Limits,
        cleared_kw: Tensor,
        losses: LossCost | None,
    ) -> tuple[Best, Tensor]:
        """Return the best trades found for markets [R] and the rounds [R].

        Every round looks at the AC power flow of the last trades, and where they hold, keeps them
        if none that held were better. Then it finds the best trades with the limits linearised
        there, until these promise no more than `gap` beyond the trades they start from.
        """
        rows, best = LimitRows.of(grid, limits), Best.none(cleared_kw)
        at_hand = Search.start(cleared_kw, rows)
        taken = torch.ones_like(at_hand.left)
        for count in range(self.config.max_rounds + 1):
            left = at_hand.left
            here, mine = at(grid, left), rows.of_markets(left)
            x, solution, whole = carried(here, at_hand.cleared_kw, at_hand.known_kw)
            state = mine.state(here, solution, x)
            excess = (state - mine.ceiling) / mine.unit
            holds = (excess.amax(1) <= 1) & solution.converged & whole & at_hand.solved
            lost = x[:, 0] * 0 if losses is None else losses.of_markets(left).cost(solution)
            surplus = -(orders.limit_price[left] * x).sum(1) - lost
            best = best.or_better(
                left[holds], x[holds], at_hand.prices[holds], surplus[holds], lost[holds]
            )
            if count == self.config.max_rounds:
                break
            at_hand = replace(at_hand, known_kw=x).pressed(excess, mine.unit, count)
            index, used = at_hand.listed()
            effect = mine.slopes(here, solution, x, index) * used.unsqueeze(-1)
            aim = (mine.ceiling - at_hand.stricter - state).gather(1, index)
            room = aim + times(effect, x)
            model = None if losses is None else losses.of_markets(left).model(here, solution, x)
            out = self._solve(orders, at_hand, effect, room, model)
            promised = -(orders.limit_price[left] * out.cleared_kw).sum(1)
            if model is not None:
                promised = promised - model.cost(out.cleared_kw)
            there = holds & out.found & (promised <= surplus * (1 + self.config.gap))
            if count >= CUT_FROM:
                at_hand = at_hand.cut(effect, room, excess.gather(1, index) * used)
            go_on = (~there).nonzero().squeeze(1)
            if not len(go_on):
                break
            at_hand = at_hand.to(out).of(go_on)
            taken = taken.index_fill(0, at_hand.left, count + 1)
        return best, taken

    def _solve(
        self,
        orders: Orders,
        at_hand: Search,
        effect: Tensor,
        room: Tensor,
        losses: LossModel | None,
    ) -> Dispatch:
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
            losses,
        )


def _parts(
    out: Clearing, prices: Tensor, context: Context, losses_cost: Tensor | None = None
) -> PriceParts:
    """Divide prices [B, M] whose energy and loss are in `prices` [B, 3, M]."""
    traded = out.cleared_kw != 0
    energy, loss = prices[:, 1] * traded, prices[:, 2] * traded
    congestion = energy - loss - out.price
    congestion_rent, loss_rent = (
        (part * out.cleared_kw).sum(-1) * context.slot_h for part in (congestion, loss)
    )
    cost = torch.zeros_like(loss_rent) if losses_cost is None else losses_cost * context.slot_h
    return PriceParts(energy, congestion, loss, congestion_rent, loss_rent, cost)
