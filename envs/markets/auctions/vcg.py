"""Vickrey-Clarke-Groves double auction: each seat gains what its presence adds to the surplus."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.markets.book import cross, fill
from gridbazaar.envs.markets.owners import Owners
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS
from gridbazaar.envs.markets.trade_price import at_mean_prices

_CELLS = 2**17  # of seats by orders that are walked along at once; more leave the cache


@MARKETS.register("vcg")
class VickreyClarkeGroves(Market):
    """VCG double auction; efficient and truthful, and the operator pays the deficit.

    The largest surplus W is traded, and each seat gains W - W_{-i}, its Clarke pivot: the surplus
    that the others would lose without it. Without seller i its c_i kW would be made up by the
    cheapest of unused asks and of served bids that go without, so it receives the price of these,
    kWh by kWh; buyers likewise pay what they displace. That gives every pivot from one sort instead
    of one auction per seat. A seat with several orders leaves with all of them, and every kWh that
    it trades has the mean price of what it is paid.

    By Myerson and Satterthwaite (1983) no mechanism is efficient, truthful, individually rational
    and free of deficit at once: here `operator_surplus_eur` is never positive, and the market
    operator funds it. Truthful in price and in quantity alike.

    Source: Vickrey (1961), Clarke (1971), Groves (1973); for double auctions with divisible orders
    see Krishna (2010), "Auction theory", chapter 5.
    """

    claims: frozenset[Claim] = frozenset({"individually_rational", "truthful", "efficient"})
    contract = "pairs"

    def __init__(self, config: MarketConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade the largest surplus and pay the pivots."""
        quantity, limit = orders.quantity_kw.contiguous(), orders.limit_price.contiguous()
        cleared_kw = fill(quantity, limit, cross(quantity, limit))
        sold, bought = cleared_kw.clamp(min=0), (-cleared_kw).clamp(min=0)
        unsold = quantity.clamp(min=0) - sold
        unserved = (-quantity).clamp(min=0) - bought
        if orders.shared is not None:
            gives = pivots(sold, unsold + bought, limit, orders.shared)
            takes = pivots(bought, unserved + sold, -limit, orders.shared)
            return at_mean_prices(orders, context, cleared_kw, gives + takes)
        received = replacement_cost(sold, unsold, bought, limit)
        paid = -replacement_cost(bought, unserved, sold, -limit)
        return at_mean_prices(orders, context, cleared_kw, received - paid)


def pivots(used: Tensor, spare: Tensor, price: Tensor, owners: Owners) -> Tensor:
    """Return what the others lose when a seat takes its `used` power away, by order, [B, M] EUR/h.

    Args:
        used: [B, M] kW cleared on this side.
        spare: [B, M] kW not cleared on this side and cleared on the other, which replaces it.
        price: [B, M] EUR/kWh of it, lowest first.
        owners: whose orders they are; nobody replaces its own.
    """
    total = owners.total(used)
    sorted_price, order = price.sort(-1)
    seat, spare = owners.seat.to(torch.int32)[order].unsqueeze(-2), spare.gather(-1, order)
    number = torch.arange(owners.seats, dtype=torch.int32, device=seat.device).unsqueeze(-1)
    step = max(1, _CELLS // (owners.seats * len(owners.seat)))
    parts = (x.split(step) for x in (seat, spare.unsqueeze(-2), sorted_price, total))
    costs = []
    for who, kw, at, most in zip(*parts, strict=True):
        others = kw * (who != number)
        before = others.cumsum(-1) - others
        taken = torch.minimum((most.unsqueeze(-1) - before).clamp(min=0), others)
        costs.append((taken @ at.unsqueeze(-1)).squeeze(-1))
    mean = torch.cat(costs) / torch.where(total > 0, total, 1.0)
    return used * owners.of_seat(mean)


def replacement_cost(used: Tensor, unused: Tensor, other_used: Tensor, price: Tensor) -> Tensor:
    """Return what the others lose when a seat's `used` power is taken away, [B, N] EUR/h.

    Args:
        used: [B, N] kW cleared on this side, by seat.
        unused: [B, N] kW offered on this side and not cleared.
        other_used: [B, N] kW cleared on the other side, which may go without at its price.
        price: [B, N] EUR/kWh that a kW from this seat costs the others, lowest first.
    """
    # Only orders at the marginal price are cleared in part. What stands there comes first in the
    # curve, and is counted without the seat's own, by addition alone: nothing large is taken off
    # again, so that a small order keeps its digits beside a large one.
    spare = unused + other_used
    partial = (used > 0) & (unused > 0)
    marginal = price.where(partial, -torch.inf).amax(-1, keepdim=True)
    at_margin = price <= marginal
    first = torch.minimum(used, _of_others(spare * at_margin))
    sorted_price, order = price.sort(-1)
    beyond = (spare * ~at_margin).gather(-1, order)
    end_kw, end_cost = beyond.cumsum(-1), (beyond * sorted_price).cumsum(-1)
    rest = used - first
    at = torch.searchsorted(end_kw, rest).clamp(max=price.shape[-1] - 1)
    before = torch.nn.functional.pad(end_kw, (1, 0)).gather(-1, at)
    cost = torch.nn.functional.pad(end_cost, (1, 0)).gather(-1, at)
    cost = cost + (rest - before) * sorted_price.gather(-1, at)
    cost = cost + first * marginal.where(marginal.isfinite(), 0.0)
    return torch.where(used > 0, cost, 0.0)


def _of_others(kw: Tensor) -> Tensor:
    """Return what all seats but each one have together, [B, N]."""
    before = torch.nn.functional.pad(kw, (1, -1)).cumsum(-1)
    after = torch.nn.functional.pad(kw, (-1, 1)).flip(-1).cumsum(-1).flip(-1)
    return before + after
