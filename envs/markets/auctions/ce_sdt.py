"""CE-SDT auction: suggested prices, offers sorted and accepted until requests are met."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import NonNegative, Positive, Share
from gridbazaar.envs.markets.auctions.merit_order import pair_money
from gridbazaar.envs.markets.book import cross
from gridbazaar.envs.markets.posted_price import sides
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import at_mean_prices


class CeSdtConfig(MarketConfig):
    """Parameters of the contract; the greek letters are the paper's."""

    offer_timeout_s: Positive = Field(
        description="after which an offer is withdrawn",
        json_schema_extra={"unit": "s"},
    )
    lambda_: NonNegative = Field(
        description="weight of the surplus (share of surplus and need) in the suggested selling "
        "price, in ceilings of the price",
        json_schema_extra={"unit": "1"},
    )
    mu: NonNegative = Field(
        description="weight of the root of the sum of recent prices in it, in roots of the ceiling",
        json_schema_extra={"unit": "1"},
    )
    beta: NonNegative = Field(
        description="weight of the need in the suggested buying price, in ceilings of the price",
        json_schema_extra={"unit": "1"},
    )
    nu: NonNegative = Field(
        description="weight of the root of the sum of recent prices, taken off it",
        json_schema_extra={"unit": "1"},
    )
    seller_share: Share = Field(
        description="of the way from request to offer that the price lies: 1 pays every "
        "seller its offer",
    )
    scope: Literal["market", "seat"] = Field(
        description="whose surplus and need the suggestions are of: the market's, one suggestion "
        "for all, or a seat's own, beside the mean order of the other side",
    )
    no_bidding: bool = Field(
        description="whether the grid serves a need whose suggested buying price is the ceiling, "
        "without an auction",
    )


@MARKETS.register("ce_sdt")
class CeSdt(Market):
    """CE-SDT: suggested prices from recent trades, offers until a timeout, sorted, then accepted.

    1. Orders that arrive after the timeout are left out; with `no_bidding` also requests that are
       told a price as high as the grid's, step 3.1.
    2. The contract suggests a selling and a buying price (`suggest`) from the orders within the
       crossing of supply and demand, and from the last published prices; the others are left out.
    3. A seller offers at the suggestion, a buyer requests at it: never beyond their limits, and
       never so greedily that the other side would refuse. The paper leaves this to the users.
    4. Offers are sorted from the cheapest up, requests from the dearest down, paired in that
       order and accepted until one side is met; equal ones share pro rata. The grid does the rest.
    5. A pair trades between its request and its offer: the paper prints no rule for it.

    Source: Wang et al. (2023), "CE-SDT: a new blockchain-based distributed community energy
    trading mechanism", Frontiers in Energy Research 10, 1091350, section 2 and Eq. (5), (6),
    (12), (13).
    """

    Config = CeSdtConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})
    contract = "pairs"

    def __init__(self, config: CeSdtConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Suggest, collect, sort and accept."""
        config, limit = self.config, orders.limit_price
        quantity_kw = orders.quantity_kw * (orders.arrival_s <= config.offer_timeout_s)
        sells = quantity_kw > 0
        if config.no_bidding:
            told = hints(quantity_kw, context, config)[1]
            quantity_kw = quantity_kw * (sells | (told < context.buyer_ceiling))
        crossing = cross(quantity_kw, limit)
        accepted = torch.where(sells, limit <= crossing.ask_price, limit >= crossing.bid_price)
        quantity_kw = quantity_kw * accepted
        sell_hint, buy_hint = hints(quantity_kw, context, config)

        offer = torch.maximum(limit, torch.minimum(sell_hint, crossing.bid_price))
        request = torch.minimum(limit, torch.maximum(buy_hint, crossing.ask_price))
        sold_kw = accept(quantity_kw.clamp(min=0), offer, crossing.volume_kw)
        bought_kw = accept(quantity_kw.clamp(max=0).neg(), -request, crossing.volume_kw)
        cleared_kw = sold_kw - bought_kw
        proposed = torch.where(sells, offer, request)
        money = pair_money(cleared_kw, proposed, 1 - config.seller_share)
        broadcast = torch.ones((), dtype=torch.int64)  # of the contract's suggestion
        return at_mean_prices(orders, context, cleared_kw, money, messages=broadcast)


def accept(orders_kw: Tensor, rank: Tensor, volume_kw: Tensor) -> Tensor:
    """Accept orders in line until the volume is used up, equal ranks pro rata.

    Args:
        orders_kw: [B, N] of one side, not negative.
        rank: [B, N], the least first.
        volume_kw: [B, 1], at most the sum of the orders.

    Returns:
        accepted power [B, N].
    """
    rank = torch.where(orders_kw > 0, rank, torch.inf)
    ascending, line = rank.sort(-1)
    ahead_kw = torch.nn.functional.pad(orders_kw.gather(-1, line).cumsum(-1), (1, 0))
    start_kw = ahead_kw.gather(-1, torch.searchsorted(ascending, rank))
    end_kw = ahead_kw.gather(-1, torch.searchsorted(ascending, rank, right=True))
    width_kw = (end_kw - start_kw).clamp(min=torch.finfo(rank.dtype).tiny)
    return orders_kw * ((volume_kw - start_kw) / width_kw).clamp(0, 1)


def hints(quantity_kw: Tensor, context: Context, config: CeSdtConfig) -> tuple[Tensor, Tensor]:
    """Return what each seat [B, N], or all [B, 1], are told to ask and to bid, EUR/kWh.

    Args:
        quantity_kw: [B, N], above 0 for sellers.
    """
    supply_kw, demand_kw = sides(quantity_kw)
    if config.scope == "market":
        return suggest(supply_kw, demand_kw, context, config)
    sellers = (quantity_kw > 0).sum(-1, keepdim=True).clamp(min=1)
    buyers = (quantity_kw < 0).sum(-1, keepdim=True).clamp(min=1)
    selling, _ = suggest(quantity_kw.clamp(min=0), demand_kw / buyers, context, config)
    _, buying = suggest(supply_kw / sellers, quantity_kw.clamp(max=0).neg(), context, config)
    return selling, buying


def suggest(
    surplus_kw: Tensor, need_kw: Tensor, context: Context, config: CeSdtConfig
) -> tuple[Tensor, Tensor]:
    """Return suggested selling and buying price, EUR/kWh, between the grid's two.

    Args:
        surplus_kw, need_kw: [B, 1] of the market, or one of them [B, N] of each seat.

    selling = lambda * surplus + mu * sqrt(sum of recent prices)    (5)
    buying = beta * need - nu * sqrt(sum of recent prices)          (6)

    The paper's coefficients carry units and no values. Here they are numbers: surplus and need
    are shares of their sum, lambda and beta count in buyer's ceilings, mu and nu in roots of it.
    What was traded has one published price, so both sums are of the same prices.
    """
    ceiling, floor = context.buyer_ceiling, context.seller_floor
    total_kw = (surplus_kw + need_kw).clamp(min=torch.finfo(surplus_kw.dtype).tiny)
    recent = torch.zeros_like(ceiling)
    if context.history is not None:
        recent = context.history.nansum(-1, keepdim=True)
    root = (recent * ceiling).clamp(min=0).sqrt()
    selling = config.lambda_ * ceiling * (surplus_kw / total_kw) + config.mu * root
    buying = config.beta * ceiling * (need_kw / total_kw) - config.nu * root
    return selling.clamp(floor, ceiling), buying.clamp(floor, ceiling)
