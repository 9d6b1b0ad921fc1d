"""Market as a cooperative game: the largest gain from trade within every group of seats.

The worth of a coalition S is its largest internal gain from trade, by duality
    v(S) = min over prices p of  sum over i in S of quantity_i * max(0, sign_i (p - limit_i))
with sign 1 for sellers and -1 for buyers. The minimum lies at the limit of a member, so that a
table of what every seat gains at every seat's limit gives all worths.

Source: Shapley and Shubik (1969), "On market games", Journal of Economic Theory 1(1): such a game
has a core, the competitive price lies in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets.book import cross, fill, gaining
from gridbazaar.envs.markets.chunks import at_once
from gridbazaar.envs.markets.owners import Owners
from gridbazaar.envs.markets.protocol import Clearing, Context, Orders


@dataclass(frozen=True)
class Players:
    """The seats that some coalition needs, in an order that does not depend on their names.

    Attributes:
        seat: [B, K] the seat of each player; players beyond `count` are others, worth nothing.
        count: [B] how many of them have a partner to gain with.
        limits: [B] how many of their orders have one; the first limit prices are theirs.
        gain: [B, K, P] EUR per hour, what player i gains at limit price p.
        alike: [B, K, K] bool, whether two players have the same orders.
    """

    seat: Tensor
    count: Tensor
    limits: Tensor
    gain: Tensor
    alike: Tensor

    def of(self, markets: Tensor) -> Players:
        """Keep some markets, and no more of them than their largest game needs."""
        K, P = (max(int(count[markets].max()), 1) for count in (self.count, self.limits))
        return Players(
            self.seat[markets, :K],
            self.count[markets],
            self.limits[markets],
            self.gain[markets, :K, :P],
            self.alike[markets, :K, :K],
        )


def traded(orders: Orders) -> Tensor:
    """Return the trade of largest gain, [B, N] kW in float64, ties pro rata."""
    quantity, limit = orders.quantity_kw.double(), orders.limit_price.double()
    return fill(quantity, limit, cross(quantity, limit))


def players(quantity_kw: Tensor, limit_price: Tensor, owners: Owners | None = None) -> Players:
    """Find which seats can gain with whom; the others come last.

    Args:
        quantity_kw, limit_price: [B, M], as in Orders.
        owners: of the orders; None where each is a seat's only one.
    """
    quantity, limit = quantity_kw.double(), limit_price.double()
    sells, buys = gaining(quantity, limit)
    plays = sells | buys
    if owners is not None:
        return _players_of_several(quantity, limit, plays, owners)

    seat = quantity.argsort(stable=True)
    for key in (limit, ~plays):
        seat = seat.gather(-1, key.gather(-1, seat).argsort(stable=True))
    quantity = (quantity * plays).gather(-1, seat).unsqueeze(-1)
    limit = limit.gather(-1, seat)
    gain = (quantity * (limit.unsqueeze(-2) - limit.unsqueeze(-1))).clamp(min=0)
    alike = (quantity == quantity.transpose(-1, -2)) & (limit.unsqueeze(-1) == limit.unsqueeze(-2))
    return Players(seat, plays.sum(-1), plays.sum(-1), gain, alike)


def _players_of_several(quantity: Tensor, limit: Tensor, plays: Tensor, owners: Owners) -> Players:
    """Add up what all orders of a seat gain at each price; `plays` [B, M] of the orders."""
    price = limit.where(plays, torch.inf).sort(-1).values
    price = price.where(price.isfinite(), 0.0).unsqueeze(-1)
    of_orders = (quantity * plays).unsqueeze(-2) * (price - limit.unsqueeze(-2))
    by_price = owners.total(of_orders.clamp(min=0))
    # Seats that gain alike at every price have the same orders: their names do not matter.
    weight = torch.arange(1, len(owners.seat) + 1, device=price.device).to(price).sqrt()
    key = weight @ by_price
    gains = owners.total(plays.to(price)) > 0
    seat = key.argsort(stable=True)
    seat = seat.gather(-1, (~gains).gather(-1, seat).argsort(stable=True))
    key = key.gather(-1, seat).unsqueeze(-1)
    gain = by_price.mT.gather(-2, seat.unsqueeze(-1).expand_as(by_price.mT))
    return Players(seat, gains.sum(-1), plays.sum(-1), gain, key == key.mT)


def members(K: int, device: torch.device) -> Tensor:
    """Return who belongs to each of the 2^K coalitions, [2^K, K] bool; the first is empty."""
    codes = torch.arange(2**K, device=device).unsqueeze(-1)
    return (codes >> torch.arange(K, device=device)) & 1 == 1


def worths(game: Players) -> Tensor:
    """Return the worth of every coalition, [B, 2^K] EUR per hour, in the order of `members`."""
    K = game.gain.shape[-2]
    belongs = members(K, game.gain.device).to(game.gain)
    parts = game.gain.split(at_once(len(belongs) * game.gain.shape[-1]))
    return torch.cat([(belongs @ part).amin(-1) for part in parts])


def share_out(
    orders: Orders,
    context: Context,
    cleared_kw: Tensor,
    gained: Tensor,
    converged: Tensor,
    iterations: Tensor | None = None,
) -> Clearing:
    """Pay every seat its limits for what it trades, and what it gains.

    Its orders have one price, as far as none of them goes beyond its limit.

    Args:
        orders, context: as given to the market.
        cleared_kw: [B, M] the trade of largest gain.
        gained: [B, N] EUR per hour; of seats.
        converged: [B] bool; where false nothing is traded.
        iterations: [B] as in Clearing; 1 where None.
    """
    stands = converged.unsqueeze(-1)
    cleared, limit = cleared_kw * stands, orders.limit_price.double()
    if orders.shared is None:
        money = cleared * limit + gained * stands
    else:
        money = _by_order(cleared, limit, gained * stands, orders)
    volume = cleared.clamp(min=0).sum(-1)
    turnover = (money * (cleared > 0)).sum(-1)
    published = turnover / torch.where(volume > 0, volume, 1.0)
    dtype = orders.quantity_kw.dtype
    return Clearing(
        cleared_kw=cleared.to(dtype),
        price=(money / torch.where(cleared != 0, cleared, 1.0)).to(dtype),
        payment_eur=(money * context.slot_h).to(dtype),
        reference_price=torch.where(volume > 0, published, torch.nan).to(dtype),
        converged=converged,
        iterations=torch.ones_like(converged, dtype=torch.int64)
        if iterations is None
        else iterations,
    )


def _by_order(cleared_kw: Tensor, limit: Tensor, gained: Tensor, orders: Orders) -> Tensor:
    """Return what each order is paid so that its seat gains so much [B, N], [B, M] EUR per hour.

    A seat that sells gets max(limit, p) for every order and one that buys pays min(limit, p), with
    its own p. One that trades nothing is paid by what it ordered.
    """
    owners = orders.shared
    assert owners is not None
    size, side = cleared_kw.abs(), cleared_kw.sign()
    # Of sellers the negatives, so that prices are min(limit, p) on either side.
    cap = -side * limit
    due = owners.total(size * cap) - gained
    kw, caps = owners.by_seat(size).mT.unsqueeze(-2), owners.by_seat(cap).mT
    capped = caps.unsqueeze(-2) < caps.unsqueeze(-1)
    free_kw = (kw * ~capped).sum(-1)
    # What p would be with the orders capped that are below any one of them: the most is right.
    left = due.unsqueeze(-1) - (kw * capped * caps.unsqueeze(-2)).sum(-1)
    price = (left / free_kw.where(free_kw > 0, 1.0)).where(free_kw > 0, -torch.inf).amax(-1)
    paid = -size * torch.minimum(cap, owners.of_seat(price).where(size > 0, 0.0))

    ordered = orders.quantity_kw.abs().double()
    total = owners.total(ordered)
    alike = ordered * owners.of_seat(gained / torch.where(total > 0, total, 1.0))
    return torch.where(owners.of_seat(owners.total(size)) > 0, paid, alike)


def by_seat(game: Players, value: Tensor, seats: int) -> Tensor:
    """Return [B, seats] of a value [B, K] by player."""
    nothing = value.new_zeros(len(value), seats)
    return nothing.scatter(-1, game.seat[:, : value.shape[-1]], value)
