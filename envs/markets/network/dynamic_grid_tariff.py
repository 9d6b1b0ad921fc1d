"""Peer-to-peer matching under a grid usage charge that grows with distance and loading."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import EnergyPrice, Share
from gridbazaar.envs.markets.bilateral.stable_matching import split, trade
from gridbazaar.envs.markets.network.trade_limits import FeederMarketConfig, flow, grid_of
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, GridContext, Market, Orders
from gridbazaar.envs.markets.registry import MARKETS

# Partners closer to each other than this share of the longest distance are equally near.
_SAME = 1e-6


class DynamicGridTariffConfig(FeederMarketConfig):
    """Parameters."""

    usage_price: EnergyPrice = Field(
        description="charge for using the whole feeder, the longest distance between two seats",
    )
    measure: Literal["distance", "section"] = Field(
        description="distance charges in proportion to it, section nothing inside a section "
        "and everything beyond",
    )
    section: Share = Field(
        description="of the longest distance within which two seats are in one section",
    )
    dynamic: Share = Field(
        description="of the charge that follows the loading of the feeder; 0 is a fixed charge",
    )
    k: Share = Field(
        description="0 trades at what the seller asks, 1 at what the buyer gives less the charge",
    )


@MARKETS.register("dynamic_grid_tariff")
class DynamicGridTariff(Market):
    """Pairs trade, the nearest first, and the buyer pays for the distance its energy comes.

    The charge of a pair is usage_price * reach * (1 - dynamic + dynamic * loading): reach is the
    electrical distance over the longest one (or 0 and 1 inside and outside a section), loading the
    highest of a line or transformer under the background, over its limit and at most 1. A pair
    may trade where ask + charge <= bid; pairs that are each other's nearest trade first, equals
    share pro rata. The seller gets ask + k * (bid - charge - ask), the buyer pays that and the
    charge, in one price per kWh. The market operator collects the charges for the DSO; what the
    tariff calls local_charge is paid beside.

    Source: Quartierstrom, Ableitner et al. (2020), "User behavior in a real-world peer-to-peer
    electricity market", Applied Energy 270: auction under a grid usage tariff that favours local
    trade; the charge by distance or zone: Baroche et al. (2019), "Exogenous cost allocation in
    peer-to-peer electricity markets", IEEE Trans. Power Systems 34(4). That it follows the loading
    is assumed.
    """

    Config = DynamicGridTariffConfig
    claims: frozenset[Claim] = frozenset({"no_deficit", "individually_rational"})

    def __init__(self, config: DynamicGridTariffConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match until no pair that can pay its charge has energy left."""
        grid = grid_of(context, self.config, orders)
        seller, buyer = split(orders.quantity_kw)
        share = _share_of_longest(grid, orders.quantity_kw)
        pair_share = share[seller.unsqueeze(-1), buyer.unsqueeze(-2)]
        score, charge = (pair_share / _SAME).round(), self.charge(pair_share, grid)
        return trade(orders, context, seller, buyer, score, charge, self.config.k)

    def charge(self, share: Tensor, grid: GridContext | None) -> Tensor:
        """Return what a pair [B, S, K] at that share of the longest distance pays, EUR/kWh."""
        c = self.config
        reach = share if c.measure == "distance" else (share > c.section).to(share)
        if grid is None or c.dynamic == 0:
            return c.usage_price * reach
        level = (1 - c.dynamic) + c.dynamic * _loading(grid).to(share)
        return c.usage_price * reach * level[:, None, None]


def _share_of_longest(grid: GridContext | None, like: Tensor) -> Tensor:
    """Return the distance of each two seats over the longest one, [N, N]; 0 without a grid."""
    if grid is None:
        return like.new_zeros(like.shape[-1], like.shape[-1])
    distance = grid.distance.to(like)
    return distance / distance.amax().clamp(min=torch.finfo(like.dtype).tiny)


def _loading(grid: GridContext) -> Tensor:
    """Return the highest loading of a branch by the background over its limit, [B], at most 1."""
    nothing = torch.zeros_like(grid.background_kw[:, :1]).expand(-1, len(grid.to_bus))
    state = flow(grid, nothing)
    loading = torch.cat([state.line_loading_percent, state.trafo_loading_percent], 1)
    limit = torch.cat([grid.limits.line_percent, grid.limits.trafo_percent], -1)
    if loading.shape[1] == 0:
        return loading.new_zeros(len(loading))
    relative = (loading / limit).amax(1).clamp(max=1)
    # A background that no state carries leaves nothing to use.
    return torch.where(state.converged, relative, 1.0)
