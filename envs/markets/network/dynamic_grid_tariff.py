"""Peer-to-peer matching under a grid usage charge that grows with distance and loading."""

from __future__ import annotations

from pydantic import Field

from gridbazaar.config import Share
from gridbazaar.envs.markets.bilateral.stable_matching import split, trade
from gridbazaar.envs.markets.network.grid_tariff import (
    SAME,
    GridTariffConfig,
    pair_charge,
    share_of_longest,
)
from gridbazaar.envs.markets.network.trade_limits import grid_of
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, Orders
from gridbazaar.envs.markets.registry import MARKETS


class DynamicGridTariffConfig(GridTariffConfig):
    """Parameters."""

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
        share = share_of_longest(grid, orders.quantity_kw)
        pair_share = share[seller.unsqueeze(-1), buyer.unsqueeze(-2)]
        score, charge = (pair_share / SAME).round(), pair_charge(pair_share, grid, self.config)
        return trade(orders, context, seller, buyer, score, charge, self.config.k)
