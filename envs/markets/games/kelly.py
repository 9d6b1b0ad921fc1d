"""Kelly's mechanism: buyers bid money, and share the supply in proportion to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets.book import tolerance_kw
from gridbazaar.envs.markets.owners import Owners
from gridbazaar.envs.markets.posted_price import at_one_price, share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.registry import MARKETS

_HALVINGS = 60  # of the price's range; the step after them is exact


@MARKETS.register("kelly")
class Kelly(Market):
    """Kelly's proportional allocation, played to its Nash equilibrium by the buyers.

    Each buyer bids a sum of money w_n for the supply S on offer; the price is sum w / S, and a
    buyer gets its share w_n / sum w of the supply. Buyers know that their bid moves the price: at
    the equilibrium, which is unique, a buyer with limit l gets x with l (1 - x / S) = price, or its
    whole order, or nothing. So the price is below every buyer's limit, and large buyers hold back.
    Sellers are price takers: their asks are the reserve, S is what is asked at most the price, and
    the dearest of it is rationed where buyers would pay no more. A seat is one player, its bids the
    steps of its utility. Without reserve the buyers' utility is at least 3/4 of the largest.

    Source: EPS 7.3, of Kelly (1997), "Charging and rate control for elastic traffic", European
    Transactions on Telecommunications 8(1); equilibrium and bound: Johari and Tsitsiklis (2004),
    "Efficiency loss in a network resource allocation game", Mathematics of Operations Research
    29(3). That sellers' asks are a reserve is ours.
    """

    claims: frozenset[Claim] = frozenset(
        {"budget_balanced", "no_deficit", "individually_rational", "one_price"}
    )

    def __init__(self, config: MarketConfig):
        self.config = config

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Find the equilibrium price and share the supply at it."""
        quantity, limit = orders.quantity_kw, orders.limit_price
        buyers = _Buyers.of(quantity, limit, orders.shared)
        ask, supply = _offer(quantity, limit, buyers)
        price = buyers.price(ask, supply)
        bought = buyers.demand(price, supply)
        bought = bought.where(bought > tolerance_kw(quantity), 0.0)
        total = bought.sum(-1, keepdim=True)
        cheap = quantity.clamp(min=0) * (limit < ask)
        level = quantity.clamp(min=0) * (limit == ask)
        tiny = torch.finfo(quantity.dtype).tiny
        rest = (total - cheap.sum(-1, keepdim=True)).clamp(min=0)
        share = (rest / level.sum(-1, keepdim=True).clamp(min=tiny)).clamp(max=1)
        sold = (cheap + level * share) * (total > 0)
        sold = sold.where(sold > tolerance_kw(quantity), 0.0)
        return at_one_price(share_pro_rata(sold - bought), price, context.slot_h)


@dataclass(frozen=True)
class _Buyers:
    """Bids as steps of their seats' utilities.

    Attributes:
        kw: [B, M] >= 0, 0 where an order is none or is worth nothing.
        limit: [B, M] EUR/kWh, above 0.
        before_kw: [B, M] what the same seat bids at a higher limit.
        level_kw: [B, M] what it bids at the same, with the order's own; above 0.
    """

    kw: Tensor
    limit: Tensor
    before_kw: Tensor
    level_kw: Tensor

    @classmethod
    def of(cls, quantity: Tensor, limit: Tensor, owners: Owners | None) -> _Buyers:
        """Take over the bids; money cannot be negative, so a limit must be above 0."""
        bids = (quantity < 0) & (limit > 0)
        kw, limit = (-quantity).where(bids, 0.0), limit.where(bids, 1.0)
        if owners is None:
            tiny = torch.finfo(kw.dtype).tiny
            return cls(kw, limit, torch.zeros_like(kw), kw.clamp(min=tiny))
        before_kw, level_kw = owners.line(kw, -limit)
        return cls(kw, limit, before_kw, level_kw)

    def _wanted(self, price: Tensor, supply: Tensor) -> Tensor:
        """Return what the bids of a seat at one limit take together, before their bounds."""
        return supply * (1 - price / self.limit) - self.before_kw

    def demand(self, price: Tensor, supply: Tensor) -> Tensor:
        """Return what each order takes of a supply at a price, [B, M] kW of [B, 1] each."""
        wanted = torch.minimum(self._wanted(price, supply), self.level_kw).clamp(min=0)
        return wanted / self.level_kw * self.kw

    def price(self, ask: Tensor, supply: Tensor) -> Tensor:
        """Return the price, [B, 1]: where demand is the supply, but at least the reserve."""
        with torch.no_grad():
            low, high = ask, torch.maximum(self.limit.amax(-1, keepdim=True), ask)
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                scarce = self.demand(middle, supply).sum(-1, keepdim=True) > supply
                low, high = torch.where(scarce, middle, low), torch.where(scarce, high, middle)
            wanted = self._wanted(low, supply)
            inner = (wanted > 0) & (wanted < self.level_kw)
            whole = wanted >= self.level_kw
        # Within the piece found, demand is linear in the price.
        part = self.kw / self.level_kw * inner
        fixed = (part * (supply - self.before_kw)).sum(-1, keepdim=True)
        fixed = fixed + (self.kw * whole).sum(-1, keepdim=True)
        slope = supply * (part / self.limit).sum(-1, keepdim=True)
        exact = (fixed - supply) / torch.where(slope > 0, slope, 1.0)
        return torch.where(slope > 0, torch.maximum(exact, ask), ask + (low - ask).detach())


def _offer(quantity: Tensor, limit: Tensor, buyers: _Buyers) -> tuple[Tensor, Tensor]:
    """Return the dearest ask that is on offer and the supply up to it, [B, 1] each.

    It is the cheapest ask whose supply clears at no more than the next ask.
    """
    sells = quantity > 0
    ask, order = limit.where(sells, torch.inf).sort(-1)
    kw = quantity.clamp(min=0).gather(-1, order)
    end = torch.searchsorted(ask.detach().contiguous(), ask.detach().contiguous(), right=True)
    supply = kw.cumsum(-1).gather(-1, end - 1)
    following = torch.nn.functional.pad(ask, (0, 1), value=torch.inf).gather(-1, end)
    with torch.no_grad():
        rows = _Buyers(*[x.unsqueeze(-2) for x in vars(buyers).values()])
        step, offered = following.unsqueeze(-1), supply.unsqueeze(-1)
        reach = step.where(step.isfinite(), buyers.limit.amax(-1)[:, None, None])
        stops = rows.demand(reach, offered).sum(-1) <= supply
        stops |= following.isinf()
        first = stops.to(torch.int8).argmax(-1, keepdim=True)
    chosen, offered_kw = ask.gather(-1, first), supply.gather(-1, first)
    none = chosen.isinf()
    return chosen.where(~none, 0.0), offered_kw.where(~none, 0.0)
