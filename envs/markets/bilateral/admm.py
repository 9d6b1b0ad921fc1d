"""Bilateral dispatch by ADMM: rounds of proposals between partners until they agree.

Both sides of a pair propose how much to trade: y_ij is what seat i would sell to seat j, negative
to buy. A seat's proposals are those that cost it least at the price of each pair, drawn towards a
centre that the pair found in the last round:
    y_ij <- argmin f_i(y_i) - sum_j price_ij y_ij + sum_j rho_ij/2 |y_ij - centre_ij|^2
Centre and price move by the equations of `admm_sequential` or `admm_parallel`. Both are the
alternating direction method of multipliers (Boyd et al. 2011, "Distributed optimization and
statistical learning via the alternating direction method of multipliers", 7.1 and, for the
relaxation, 3.4.3).

rho_ij = rho * gain / even share of the pair, so that neither the units nor the sizes of the orders
matter and seats with the same limit propose in proportion to their orders. f_i is linear within
the box of the order: a seat's argmin is a projection, exact after one sort.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Count, Positive, Tolerance
from gridbazaar.envs.markets.pairs import (
    PairBook,
    PreferenceConfig,
    bill_pairs,
    pair_up,
    preference,
)
from gridbazaar.envs.markets.protocol import Clearing, Context, Orders

_CHECK_EVERY = 10  # rounds between two looks at the duality gap
_NOTHING = 1e-12  # of a pair's even share: what rounding leaves of no trade
_SHUT = -10.0  # gain of a pair that must not trade, over the largest gain


class AdmmConfig(PreferenceConfig):
    """Preferences and the iteration."""

    rho: Positive = Field(
        description="penalty on disagreement, over the largest gain of a pair",
        json_schema_extra={"unit": "1"},
    )
    relaxation: Annotated[float, Field(ge=1, lt=2)] = Field(
        description="1 for the plain iteration, up to 2",
        json_schema_extra={"unit": "1"},
    )
    tolerance: Tolerance = Field(description="duality gap over welfare at which the rounds end")
    max_rounds: Count = Field(description="after which a market gives up")


@dataclass(frozen=True)
class Rounds:
    """Where the pairs of every market stand, in even shares and over the largest gain.

    Of the two entries [B, 2, S, K] the first is the seller's y_ij, the second the buyer's y_ji.

    Attributes:
        proposal: [B, 2, S, K] y of the last round.
        centre: [B, 2, S, K] what the pair was last asked to agree on.
        multiplier: [B, 2, S, K] lambda as the equations have it.
        price_sign: what turns it into the pair's price above the seller's limit.
        valuation: [B, 2, S, K] what f_i gives for a kWh: 0 above its limit, and the pair's gain,
            strongly negative where it must not trade.
        supply, demand: [B, 1, S] and [B, 1, K] orders over what can be traded.
    """

    proposal: Tensor
    centre: Tensor
    multiplier: Tensor
    valuation: Tensor
    supply: Tensor
    demand: Tensor
    price_sign: float

    @property
    def margin(self) -> Tensor:
        """The pair's price above the seller's limit, [B, S, K]."""
        return self.price_sign * self.multiplier[:, 0]

    @property
    def size(self) -> Tensor:
        """The pair's even share of all trade, [B, S, K]."""
        return self.supply.transpose(-1, -2) * self.demand

    def of(self, markets: Tensor) -> Rounds:
        """Keep some markets of the batch."""
        tensors = (f.name for f in fields(self) if f.name != "price_sign")
        return replace(self, **{name: getattr(self, name)[markets] for name in tensors})


class Update(NamedTuple):
    """One of the two forms: a round of it, and the sign of its multipliers."""

    play: Callable[[Rounds, AdmmConfig], Rounds]
    price_sign: float


@dataclass(frozen=True)
class Agreement:
    """Trades [B, S, K] in kW, their prices in EUR/kWh, and the rounds [B] that they took."""

    pair_kw: Tensor
    pair_price: Tensor
    converged: Tensor
    rounds: Tensor


@dataclass(frozen=True)
class ResidualCurves:
    """[T, B] after each round: disagreement, last change, and duality gap over its bound."""

    primal: Tensor
    dual: Tensor
    gap: Tensor


def start(book: PairBook, price_sign: float) -> Rounds:
    """Begin with no trade and every gain halved between the two."""
    traded = book.traded_kw
    gain = (book.gain / book.largest_gain.unsqueeze(-1)).where(book.open, _SHUT)
    half = (gain.clamp(min=0) / 2).unsqueeze(1).expand(-1, 2, -1, -1)
    nothing = torch.zeros_like(half)
    return Rounds(
        proposal=nothing,
        centre=nothing,
        multiplier=price_sign * half,
        valuation=torch.stack([torch.zeros_like(gain), gain], 1),
        supply=(book.supply_kw / traded).unsqueeze(-2),
        demand=(book.demand_kw / traded).unsqueeze(-2),
        price_sign=price_sign,
    )


def propose(at: Rounds, rho: float) -> Tensor:
    """Return y [B, 2, S, K], what sellers and what buyers would trade with each partner.

    y_ij <- argmin f_i(y_i) + sum_j rho/2 |y_ij - centre_ij - price_ij/rho|^2, which is both
    equations' first line.
    """
    shut = at.valuation[:, 1] <= _SHUT
    wish = at.centre + (at.price_sign * at.multiplier - at.valuation) / rho
    sold = _project(wish[:, 0].masked_fill(shut, _SHUT / rho), at.demand)
    less = wish[:, 1].neg().masked_fill(shut, _SHUT / rho)
    bought = _project(less.transpose(-1, -2), at.supply).transpose(-1, -2)
    return torch.stack([sold, -bought], 1)


def partner(y: Tensor) -> Tensor:
    """Return y_ji for y_ij, [B, 2, S, K]."""
    return y.flip(1)


def _project(wish: Tensor, weight: Tensor) -> Tensor:
    """Return the nearest x >= 0 with sum_j weight_j x_j <= 1, rows of `wish` [B, R, C]."""
    ranked, order = wish.sort(-1, descending=True)
    weights = weight.expand_as(wish).gather(-1, order)
    used = weights.cumsum(-1)
    excess = ((weights * ranked).cumsum(-1) - 1) / used.clamp(min=torch.finfo(used.dtype).tiny)
    return (wish - excess.amax(-1, keepdim=True).clamp(min=0)).clamp(min=0)


def trades(at: Rounds, book: PairBook) -> tuple[Tensor, Tensor]:
    """Return the trades [B, S, K] in kW and their prices in EUR/kWh."""
    size = at.size * book.traded_kw.unsqueeze(-1)
    price = at.margin * book.largest_gain.unsqueeze(-1) + book.ask.unsqueeze(-1)
    share = at.centre[:, 0]
    return (share * size).where(book.open & (share > _NOTHING), 0.0), price


def residuals(before: Rounds, at: Rounds, rho: float) -> tuple[Tensor, Tensor]:
    """Return the norms [B] of the pairs' disagreement and of the last change of the centres."""
    apart = at.proposal + partner(at.proposal)
    moved = at.centre - before.centre
    size = at.size.unsqueeze(1)
    primal = (apart.square() * size).sum((1, 2, 3)).div(4).sqrt()
    return primal, rho * (moved.square() * size).sum((1, 2, 3)).sqrt()


def gap(at: Rounds, book: PairBook) -> Tensor:
    """Return by how much the welfare may miss the optimum, over its upper bound, [B]."""
    pair_kw, price = trades(at, book)
    bound = book.bound(price)
    missing = bound - book.welfare(book.within(pair_kw))
    return torch.where(bound > 0, missing / bound, 0.0)


def negotiate(book: PairBook, config: AdmmConfig, update: Update) -> Agreement:
    """Go on in each market until the gap is within the tolerance or the rounds are used up."""
    at = start(book, update.price_sign)
    pair_kw, price = trades(at, book)
    converged = gap(at, book) <= config.tolerance
    rounds = torch.zeros_like(converged, dtype=torch.int64)
    left = (~converged).nonzero().squeeze(-1)
    at, part = at.of(left), book.of(left)
    done = 0
    while len(left) and done < config.max_rounds:
        for _ in range(min(_CHECK_EVERY, config.max_rounds - done)):
            at = update.play(at, config)
            done += 1
        arrived = gap(at, part) <= config.tolerance
        pair_kw[left], price[left] = trades(at, part)
        converged[left], rounds[left] = arrived, done
        go_on = (~arrived).nonzero().squeeze(-1)
        left, at, part = left[go_on], at.of(go_on), part.of(go_on)
    return Agreement(pair_kw, price, converged, rounds)


def residual_curves(
    orders: Orders, context: Context, config: AdmmConfig, update: Update, rounds: int
) -> ResidualCurves:
    """Play a number of rounds whatever the tolerance, and return how the residuals fall."""
    book = pair_up(orders, preference(context.by_order(orders.owners), config))
    at = start(book, update.price_sign)
    curves: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(rounds):
        before, at = at, update.play(at, config)
        curves.append((*residuals(before, at, config.rho), gap(at, book)))
    primal, dual, gaps = (torch.stack(curve) for curve in zip(*curves, strict=True))
    return ResidualCurves(primal, dual, gaps)


def _proposals(orders: Orders, book: PairBook, with_contract: bool) -> Tensor:
    """Return how many seats write to the contract in a round, or twice the pairs of seats, [B].

    A seat names what all its orders would trade in one message.
    """
    owners, is_open = orders.shared, book.open
    if owners is None:
        seats = is_open.any(-1).sum(-1) + is_open.any(-2).sum(-1)
        return seats if with_contract else 2 * is_open.flatten(1).sum(-1)
    N = owners.seats
    pair = owners.seat[book.sellers].unsqueeze(-1) * N + owners.seat[book.buyers].unsqueeze(-2)
    deals = is_open.new_zeros(len(is_open), N * N, dtype=torch.uint8)
    deals.scatter_reduce_(1, pair.flatten(1), is_open.flatten(1).to(deals), "amax")
    between = deals.view(-1, N, N)
    between = between | between.mT
    return (between > 0).any(-1).sum(-1) if with_contract else between.flatten(1).sum(-1)


def clear_by_rounds(
    orders: Orders, context: Context, config: AdmmConfig, update: Update, with_contract: bool
) -> Clearing:
    """Clear the orders; count a message per proposal that leaves its seat."""
    book = pair_up(orders, preference(context.by_order(orders.owners), config))
    agreed = negotiate(book, config, update)
    per_round = _proposals(orders, book, with_contract)
    return bill_pairs(
        orders,
        context,
        book,
        agreed.pair_kw,
        agreed.pair_price,
        converged=agreed.converged,
        iterations=agreed.rounds.clamp(min=1),
        messages=per_round * agreed.rounds,
    )
