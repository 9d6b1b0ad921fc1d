"""Iterative double auction: a price is called out and moved until supply and demand balance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Tolerance
from gridbazaar.envs.markets.book import rounding
from gridbazaar.envs.markets.posted_price import accepting_kw, sides
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS


class IterativeConfig(MarketConfig):
    """Parameters of the price adjustment."""

    tolerance: Tolerance = Field(description="of the largest surplus that may be forgone")
    max_rounds: Annotated[int, Field(ge=2, le=1000)] = Field(
        description="after which a market gives up",
    )


@dataclass(frozen=True)
class _Answer:
    """What the seats answer to a price; [B, 1] each.

    Attributes:
        price: EUR/kWh called out.
        supply_kw, demand_kw: offered and asked for at that price.
        surplus: EUR/h that all seats would gain if every one of them were served at that price;
            by weak duality no trade of these orders is worth more.
    """

    price: Tensor
    supply_kw: Tensor
    demand_kw: Tensor
    surplus: Tensor

    @property
    def volume_kw(self) -> Tensor:
        return torch.minimum(self.supply_kw, self.demand_kw)

    @property
    def excess_kw(self) -> Tensor:
        return (self.demand_kw - self.supply_kw).abs()


@MARKETS.register("iterative")
class Iterative(Market):
    """Iterative double auction; one price is adjusted in rounds until the surplus is the largest.

    The auctioneer calls out a price, the seats answer with what they would trade at it, and the
    price moves up where demand is in excess and down where supply is, by half the last step. The
    price that balances the book lies between the last one with excess demand and the last one with
    excess supply. It stops when the surplus forgone is proven to be at most `tolerance` of the
    largest: those left unserved at the better of the two prices would gain less than the
    gap between the prices each, and the seats' total gain at a price bounds the optimum (the
    dual). Orders that would trade at both prices come first, those in between share pro rata.

    A market that does not stop within `max_rounds` trades nothing and is reported as not
    converged. `messages` counts one answer per seat and round.

    Source: Walrasian price adjustment on the dual of the welfare problem, as the iterative double
    auctions of Majumder et al. (2014), CIASG, and Zhang, Yang and Wang (2021), Sustainable Energy,
    Grids and Networks 27; these adjust bids of strictly concave utilities, and with one limit price
    per order the dual has one price, for which bisection is safe where a fixed step would cycle.
    """

    Config = IterativeConfig
    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "one_price"}
    )
    contract = "auction"

    def __init__(self, config: IterativeConfig):
        self.tolerance, self.max_rounds = config.tolerance, config.max_rounds

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Adjust the price until the surplus is proven near the largest."""
        low, high, done, rounds = self._adjust(orders)
        best = _pick(_at_low(low, high), low, high)
        price = best.price
        cleared_kw = _serve(orders, price, low.price, high.price, best.volume_kw) * done
        traded = cleared_kw != 0
        converged = done.squeeze(-1)
        live = orders.seats_with(orders.quantity_kw).sum(-1, keepdim=True)
        return Clearing(
            cleared_kw=cleared_kw,
            price=torch.where(traded, price, 0.0),
            payment_eur=torch.where(traded, cleared_kw * price, 0.0) * context.slot_h,
            reference_price=torch.where(traded.any(-1), price.squeeze(-1), torch.nan),
            converged=converged,
            iterations=rounds.squeeze(-1).clamp(min=1),
            messages=(rounds * live).squeeze(-1),
        )

    def _adjust(self, orders: Orders) -> tuple[_Answer, _Answer, Tensor, Tensor]:
        """Return the answers at both ends, and by market whether it stopped, after which rounds.

        The first two prices are the lowest ask and the highest bid.
        """
        quantity, limit = orders.quantity_kw, orders.limit_price
        lowest = torch.where(quantity > 0, limit, torch.inf).amin(-1, keepdim=True)
        highest = torch.where(quantity < 0, limit, -torch.inf).amax(-1, keepdim=True)
        crosses = (lowest <= highest) & lowest.isfinite() & highest.isfinite()
        low = _ask(orders, torch.where(crosses, lowest, 0.0))
        high = _ask(orders, torch.where(crosses, highest, 0.0))
        done = ~crosses | self._near_optimum(low, high)
        rounds = 2 * crosses.long()
        for _ in range(self.max_rounds - 2):
            if bool(done.all()):
                break
            middle = _ask(orders, (low.price + high.price) / 2)
            wanted = middle.demand_kw > middle.supply_kw + rounding(middle.supply_kw)
            low = _pick(wanted & ~done, middle, low)
            high = _pick(~wanted & ~done, middle, high)
            rounds = rounds + (~done).long()
            done = done | self._near_optimum(low, high)
        return low, high, done, rounds

    def _near_optimum(self, low: _Answer, high: _Answer) -> Tensor:
        """Return where the surplus forgone is within tolerance, or prices cannot come closer."""
        best = _pick(_at_low(low, high), low, high)
        forgone = (high.price - low.price) * best.excess_kw
        middle = (low.price + high.price) / 2
        stuck = (middle <= low.price) | (middle >= high.price)
        return stuck | (forgone <= self.tolerance * (best.surplus - forgone))


def _ask(orders: Orders, price: Tensor) -> _Answer:
    """Collect the seats' answers to a price [B, 1]."""
    gain = (price - orders.limit_price) * orders.quantity_kw
    return _Answer(
        price, *sides(accepting_kw(orders, price)), gain.clamp(min=0).sum(-1, keepdim=True)
    )


def _at_low(low: _Answer, high: _Answer) -> Tensor:
    """Return where more is traded at the lower price, [B, 1]."""
    return low.volume_kw >= high.volume_kw - rounding(high.volume_kw)


def _pick(where: Tensor, one: _Answer, other: _Answer) -> _Answer:
    """Choose by market."""
    return _Answer(
        torch.where(where, one.price, other.price),
        torch.where(where, one.supply_kw, other.supply_kw),
        torch.where(where, one.demand_kw, other.demand_kw),
        torch.where(where, one.surplus, other.surplus),
    )


def _serve(orders: Orders, price: Tensor, low: Tensor, high: Tensor, volume_kw: Tensor) -> Tensor:
    """Fill the orders that accept `price` up to the volume, [B, N] kW with the order's sign.

    Those that accept either price come first, each rank shares pro rata.
    """
    willing_kw = accepting_kw(orders, price)
    at_both = torch.where(orders.quantity_kw > 0, low, high)
    first = accepting_kw(orders, at_both) != 0
    cleared = torch.zeros_like(willing_kw)
    for side in (1, -1):
        offered = (willing_kw * side).clamp(min=0)
        left = volume_kw
        for rank in (first, ~first):
            ranked = offered * rank
            total = ranked.sum(-1, keepdim=True)
            filled = torch.minimum(total, left)
            share = filled / torch.where(total > 0, total, 1.0)
            cleared = cleared + ranked * share * side
            left = left - filled
    return cleared
