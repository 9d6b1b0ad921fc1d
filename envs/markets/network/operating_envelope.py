"""Uniform auction inside a dynamic operating envelope: what the feeder bears whoever trades."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Count
from gridbazaar.envs.markets.auctions.uniform_auction import UniformAuction, UniformAuctionConfig
from gridbazaar.envs.markets.network.trade_limits import (
    FeederMarketConfig,
    at,
    broken,
    broken_by,
    flow,
    grid_of,
)
from gridbazaar.envs.markets.owners import Owners
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, GridContext, Market, Orders
from gridbazaar.envs.markets.registry import MARKETS

# Part by which an envelope is narrowed that was drawn too wide.
_NARROWED = 0.05


class OperatingEnvelopeConfig(FeederMarketConfig, UniformAuctionConfig):
    """Parameters."""

    allocation: Literal["equal", "pro_rata"] = Field(
        description="equal: the same bound in kW for every seat of a side, pro rata to its "
        "orders; pro_rata: the same share of every order",
    )
    halvings: Annotated[int, Field(ge=1, le=40)] = Field(
        description="of the interval in which the bound is searched",
    )
    max_rounds: Count = Field(
        description="of auction and AC power flow; 1 where the envelope needs no narrowing",
    )


@MARKETS.register("operating_envelope")
class OperatingEnvelope(Market):
    """Orders are clipped to a dynamic operating envelope, then a uniform auction clears them.

    In every interval two bounds are found, one for selling and one for buying: the largest at which
    the AC power flow of the background and all seats of that side at their bounded orders, with no
    trade of the other side, breaks no limit. On a feeder where more export nowhere lowers a voltage
    or turns a flow back (a radial one) whatever the auction then picks lies between the two and
    breaks no voltage limit either. The same power at a lower voltage is more current: where that
    breaks a line's or transformer's limit the envelope is narrowed by a twentieth until it holds.
    The bound counts no trade that would relieve another, so an envelope admits
    less than locational prices do.

    Source: Petrou et al. (2021), "Ensuring distribution network integrity using dynamic operating
    limits for prosumers", IEEE Trans. Smart Grid 12(5); equal and proportional allocation there.
    """

    Config = OperatingEnvelopeConfig
    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "one_price"}
    )
    contract = "auction"

    def __init__(self, config: OperatingEnvelopeConfig):
        self.config = config
        self._auction = UniformAuction(config)

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match what of the orders lies inside the envelope, at one price."""
        grid = grid_of(context, self.config, orders)
        if grid is None:
            return self._auction.clear(orders, context)
        inside_kw = self.bounded(orders, grid)
        rounds = torch.ones_like(inside_kw[:, 0], dtype=torch.int64)
        for round_ in range(1, self.config.max_rounds + 1):
            inside = replace(orders, quantity_kw=inside_kw)
            out = self._auction.clear(inside, context)
            rows = broken_by(grid, out.cleared_kw)[0]
            if not len(rows):
                return replace(out, iterations=rounds)
            if round_ < self.config.max_rounds:
                rounds = rounds.index_fill(0, rows, round_ + 1)
                inside_kw = inside_kw.index_copy(0, rows, inside_kw[rows] * (1 - _NARROWED))
        none = inside_kw.index_fill(0, rows, 0.0)
        out = self._auction.clear(replace(inside, quantity_kw=none), context)
        return replace(out, converged=out.converged.index_fill(0, rows, False), iterations=rounds)

    def bounded(self, orders: Orders, grid: GridContext) -> Tensor:
        """Return the orders [B, M] cut to the envelope; `grid` has a place for each of them."""
        quantity_kw = orders.quantity_kw
        sold = quantity_kw.clamp(min=0)
        bought = sold - quantity_kw
        # Sales and purchases are the two halves of one batch.
        sides = torch.cat([sold, -bought])
        markets = torch.arange(len(sold), device=sold.device).repeat(2)
        grid = at(grid, markets)
        rows, limits = broken_by(grid, sides)
        if len(rows):
            here = at(grid, rows)
            bound = self._bound(sides[rows], orders.shared)
            low = torch.zeros_like(sides[rows, :1])
            high = torch.ones_like(low)
            for _ in range(self.config.halvings):
                middle = (low + high) / 2
                bad = broken(flow(here, bound(middle)), limits).unsqueeze(1)
                low, high = torch.where(bad, low, middle), torch.where(bad, middle, high)
            sides = sides.index_copy(0, rows, bound(low))
        return sides[: len(sold)] + sides[len(sold) :]

    def _bound(self, side_kw: Tensor, owners: Owners | None) -> Callable[[Tensor], Tensor]:
        """Return the orders of one side [R, M] as a function of the bound, [R, 1] from 0 to 1."""
        if self.config.allocation == "pro_rata":
            return lambda share: side_kw * share
        size = side_kw.abs()
        if owners is not None:
            of_seat = owners.of_seat(owners.total(size))
            most = of_seat.amax(1, keepdim=True)
            of_seat = of_seat.where(of_seat > 0, 1.0)
            return lambda share: side_kw * (share * most / of_seat).clamp(max=1)
        largest = size.amax(1, keepdim=True)
        return lambda share: torch.minimum(size, share * largest) * side_kw.sign()
