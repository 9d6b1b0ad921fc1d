"""Grid usage charge of a pair of seats: by distance or section, and by the feeder's loading."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import EnergyPrice, Share
from gridbazaar.envs.markets.network.trade_limits import FeederMarketConfig, flow
from gridbazaar.envs.markets.protocol import GridContext

# Partners closer to each other than this share of the longest distance are equally near.
SAME = 1e-6


class GridTariffConfig(FeederMarketConfig):
    """What the use of the feeder costs a pair."""

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


def pair_charge(
    share: Tensor, grid: GridContext | None, config: GridTariffConfig, inside: float = 0.0
) -> Tensor:
    """Return what pairs pay, [B, S, K] EUR/kWh.

    Args:
        share: [B, S, K] of the longest distance that lies between the two, see `share_of_longest`.
        grid: None for no charge that follows the loading.
        config: the tariff.
        inside: part of the charge that a pair inside one section pays.
    """
    reach = share
    if config.measure == "section":
        reach = inside + (1 - inside) * (share > config.section).to(share)
    if grid is None or config.dynamic == 0:
        return config.usage_price * reach
    level = (1 - config.dynamic) + config.dynamic * _loading(grid).to(share)
    return config.usage_price * reach * level[:, None, None]


def share_of_longest(grid: GridContext | None, like: Tensor) -> Tensor:
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
