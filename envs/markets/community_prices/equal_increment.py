"""A pool that fills all orders in equal increments."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Share
from gridbazaar.envs.markets.posted_price import accepting_kw, at_one_price, sides
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS


class EqualIncrementConfig(MarketConfig):
    """Parameters of the pool."""

    position: Share = Field(description="of the price between feed-in (0) and retail (1)")


@MARKETS.register("equal_increment")
class EqualIncrement(Market):
    """Power Ledger's pool: every seat gets the same kW until it is full or the pool is empty.

    On the longer side each seat gets min(order, level), the level such that both sides match;
    small orders are therefore filled first and equal ones alike. The price is a posted one
    between the grid's two: the published description fixes none. An order whose limit it does
    not meet is left out; as no order moves the price, no limit is worth misreporting (Hagerty and
    Rogerson 1987, "Robust trading mechanisms", Journal of Economic Theory 42(1)).

    A seat with several orders gets its kW for them together, those that gain most first: the
    uniform rule of Sprumont (1991), "The division problem with single-peaked preferences",
    Econometrica 59(2), under which neither splitting nor hiding an order gains.

    Source: Power Ledger, as described in Wang et al. (2019), "When energy trading meets blockchain
    in electrical power system: the state of the art", Applied Sciences 9(8), section 5.2.1.
    """

    Config = EqualIncrementConfig
    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "truthful", "one_price"}
    )

    def __init__(self, config: EqualIncrementConfig):
        self.position = config.position

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Fill the orders that accept the price, all at the same pace."""
        price = torch.lerp(context.seller_floor, context.buyer_ceiling, self.position)
        willing_kw = accepting_kw(orders, price)
        volume_kw = torch.minimum(*sides(willing_kw))
        offered_kw, wanted_kw = willing_kw.clamp(min=0), willing_kw.clamp(max=0).neg()
        owners, limit = orders.shared, orders.limit_price
        if owners is None:
            sold_kw = fill_evenly(offered_kw, volume_kw)
            bought_kw = fill_evenly(wanted_kw, volume_kw)
        else:
            sold_kw, bought_kw = (
                owners.in_line(kw, rank, fill_evenly(owners.total(kw), volume_kw))
                for kw, rank in ((offered_kw, limit), (wanted_kw, -limit))
            )
        return at_one_price(sold_kw - bought_kw, price, context.slot_h)


def fill_evenly(wanted_kw: Tensor, volume_kw: Tensor) -> Tensor:
    """Return min(wanted, level) with the level at which they add up to the volume, [B, N] kW.

    The k smallest orders filled and the others at the level L add up to at least the true sum,
    for every k; the level is therefore the largest that any k gives.

    Args:
        wanted_kw: [B, N], not negative.
        volume_kw: [B, 1], at most the sum of what is wanted.
    """
    N = wanted_kw.shape[-1]
    ascending = wanted_kw.sort(-1).values
    filled_kw = ascending.cumsum(-1) - ascending
    others = torch.arange(N, 0, -1, dtype=wanted_kw.dtype, device=wanted_kw.device)
    level = ((volume_kw - filled_kw) / others).amax(-1, keepdim=True)
    return torch.minimum(wanted_kw, level)
