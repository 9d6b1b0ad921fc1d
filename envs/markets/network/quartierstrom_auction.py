"""Double auction whose bids bear the grid tariff of the way, as in the pilot Quartierstrom."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Share
from gridbazaar.envs.markets.bilateral.stable_matching import split, trade
from gridbazaar.envs.markets.network.grid_tariff import (
    GridTariffConfig,
    pair_charge,
    share_of_longest,
)
from gridbazaar.envs.markets.network.trade_limits import grid_of
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, Orders
from gridbazaar.envs.markets.registry import MARKETS

# Pairs whose margins differ by less than this share of the book's spread are equally good.
_SAME = 1e-6


class QuartierstromAuctionConfig(GridTariffConfig):
    """Parameters."""

    inside: Share = Field(
        description="of the charge that a pair inside one section pays, where measure is section",
    )
    k: Share = Field(
        description="0 trades at what the seller asks, 1 at what the buyer gives less the tariff",
    )


@MARKETS.register("quartierstrom_auction")
class QuartierstromAuction(Market):
    """Double auction under a grid tariff: the highest bid less tariff meets the cheapest ask.

    A pair may trade where bid - tariff(pair) >= ask. The pair with the widest margin
    bid - tariff - ask trades first, then the next, until none is left; equals share pro rata. With
    one tariff for all pairs that is the merit order of `pay_as_bid`: the highest bid meets the
    cheapest ask. The seller gets ask + k * (bid - tariff - ask), the buyer pays that and the
    tariff, in one price per kWh; the market operator collects the tariff for the DSO. The tariff
    is `dynamic_grid_tariff`'s, by distance or section and loading; inside a section it is reduced
    to `inside` of it.

    Source: a double auction as a contract and a dynamic grid usage tariff: Tang et al. (2024),
    "Exploring the potential of IoT-blockchain integration technology for energy community trading",
    Table IV, of the pilot Quartierstrom; price limits set by households, and a tariff that is
    reduced where both sides lie on one grid level: Ableitner et al. (2019), "Quartierstrom:
    implementation of a real world prosumer centric local energy market in Walenstadt, Switzerland",
    arXiv:1905.07242. Assumed: that a section of the feeder stands for the grid level, how the
    tariff follows the loading, its height, the sequence of pairs under unequal tariffs, and k.
    """

    Config = QuartierstromAuctionConfig
    contract = "pairs"
    claims: frozenset[Claim] = frozenset({"no_deficit", "individually_rational"})

    def __init__(self, config: QuartierstromAuctionConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match until no pair that can bear its tariff has energy left."""
        grid = grid_of(context, self.config, orders)
        seller, buyer = split(orders.quantity_kw)
        share = share_of_longest(grid, orders.quantity_kw)
        pair_share = share[seller.unsqueeze(-1), buyer.unsqueeze(-2)]
        tariff = pair_charge(pair_share, grid, self.config, self.config.inside)
        if grid is None:
            tariff = torch.zeros_like(tariff)
        score = _narrowness(orders, seller, buyer, tariff)
        return trade(orders, context, seller, buyer, score, tariff, self.config.k)


def _narrowness(orders: Orders, seller: Tensor, buyer: Tensor, tariff: Tensor) -> Tensor:
    """Return the negative margins of pairs [B, S, K] in steps of a small part of the spread."""
    limit = orders.limit_price.detach()
    real = orders.quantity_kw != 0
    spread = limit.where(real, -torch.inf).amax(-1) - limit.where(real, torch.inf).amin(-1)
    step = _SAME * spread.where(spread > 0, 1.0)[:, None, None]
    ask, bid = limit.gather(-1, seller), limit.gather(-1, buyer)
    margin = bid.unsqueeze(-2) - tariff - ask.unsqueeze(-1)
    return (margin / step).round().neg()
