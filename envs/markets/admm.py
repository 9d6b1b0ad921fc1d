"""Bilateral dispatch without a solver that sees every limit: rounds of proposals until they agree.

Both sides of a pair propose how much to trade. With y the proposal of a seat, z the trade that the
pair was last asked to agree on and l the multiplier of their difference, a round is
    y_ij <- argmin f_i(y_i) + sum_j rho_ij/2 |y_ij - z_ij + l_ij/rho_ij|^2      each seat
    z_ij <- (y_ij - y_ji)/2,  l_ij <- l_ij + rho_ij/2 (y_ij + y_ji)             each pair
which is ADMM (Boyd et al. 2011, "Distributed optimization and statistical learning via the
alternating direction method of multipliers", 7.1, over-relaxed as in 3.4.3). Who computes the
second line makes the difference between the mechanisms, not what comes out of it.

rho_ij = rho * gain / even share of the pair, so that neither the units nor the sizes of the orders
matter and seats with the same limit propose in proportion to their orders. f_i is linear within
the box of the order: a seat's argmin is a projection, exact after one sort.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from envs.markets.base import Clearing, Context, Orders
from envs.markets.pairs import PairBook, PreferenceConfig, bill_pairs, pair_up, preference

_CHECK_EVERY = 10  # rounds between two looks at the duality gap
_SHUT = -10.0  # gain of a pair that must not trade, over the largest gain


class AdmmConfig(PreferenceConfig):
    """Preferences and the iteration.

    Attributes:
        rho: penalty on disagreement, over the largest gain of a pair.
        relaxation: 1 for the plain iteration, up to 2.
        tolerance: duality gap over welfare at which the rounds end.
        max_rounds: after which a market gives up.
    """

    rho: Annotated[float, Field(gt=0)]
    relaxation: Annotated[float, Field(ge=1, lt=2)]
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    max_rounds: Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class Rounds:
    """Where the pairs of every market stand, in even shares and over the largest gain.

    Attributes:
        share: [B, S, K] what the pair was last asked to agree on.
        margin: [B, S, K] the pair's price above the seller's limit.
        gain: [B, S, K] of the pair, strongly negative where it must not trade.
        supply, demand: [B, 1, S] and [B, 1, K] orders over what can be traded.
        primal, dual: [B] norms of the disagreement and of the last change.
    """

    share: Tensor
    margin: Tensor
    gain: Tensor
    supply: Tensor
    demand: Tensor
    primal: Tensor
    dual: Tensor

    def of(self, markets: Tensor) -> Rounds:
        """Keep some markets of the batch."""
        return Rounds(*[getattr(self, name)[markets] for name in self.__dataclass_fields__])


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


def start(book: PairBook) -> Rounds:
    """Begin with no trade and every gain halved between the two."""
    traded = book.traded_kw
    gain = (book.gain / book.largest_gain.unsqueeze(-1)).where(book.open, _SHUT)
    return Rounds(
        share=torch.zeros_like(gain),
        margin=gain.clamp(min=0) / 2,
        gain=gain,
        supply=(book.supply_kw / traded).unsqueeze(-2),
        demand=(book.demand_kw / traded).unsqueeze(-2),
        primal=torch.zeros_like(traded[:, 0]),
        dual=torch.zeros_like(traded[:, 0]),
    )


def propose(at: Rounds, rho: float) -> tuple[Tensor, Tensor]:
    """Return what sellers and what buyers would trade with each partner, [B, S, K] each."""
    is_open = at.gain > _SHUT
    sold = _project((at.share + at.margin / rho).where(is_open, _SHUT / rho), at.demand)
    wish = (at.share + (at.gain - at.margin) / rho).where(is_open, _SHUT / rho)
    return sold, _project(wish.transpose(-1, -2), at.supply).transpose(-1, -2)


def agree(at: Rounds, sold: Tensor, bought: Tensor, config: AdmmConfig) -> Rounds:
    """Let every pair meet in the middle and move its price towards the side that wants less."""
    apart = bought - sold
    middle = torch.lerp(at.share, (sold + bought) / 2, config.relaxation)
    size = at.supply.transpose(-1, -2) * at.demand
    return replace(
        at,
        share=middle,
        margin=at.margin + config.rho * config.relaxation / 2 * apart,
        primal=(apart.square() * size).sum((-2, -1)).div(2).sqrt(),
        dual=((middle - at.share).square() * size).sum((-2, -1)).mul(2).sqrt() * config.rho,
    )


def _project(wish: Tensor, weight: Tensor) -> Tensor:
    """Return the nearest x >= 0 with sum_j weight_j x_j <= 1, rows of `wish` [B, R, C]."""
    ranked, order = wish.sort(-1, descending=True)
    weights = weight.expand_as(wish).gather(-1, order)
    used = weights.cumsum(-1)
    excess = ((weights * ranked).cumsum(-1) - 1) / used.clamp(min=torch.finfo(used.dtype).tiny)
    return (wish - excess.amax(-1, keepdim=True).clamp(min=0)).clamp(min=0)


def trades(at: Rounds, book: PairBook) -> tuple[Tensor, Tensor]:
    """Return the trades [B, S, K] in kW and their prices in EUR/kWh."""
    size = at.supply.transpose(-1, -2) * at.demand * book.traded_kw.unsqueeze(-1)
    price = at.margin * book.largest_gain.unsqueeze(-1) + book.ask.unsqueeze(-1)
    return (at.share.clamp(min=0) * size).where(book.open, 0.0), price


def gap(at: Rounds, book: PairBook) -> Tensor:
    """Return by how much the welfare may miss the optimum, over its upper bound, [B]."""
    pair_kw, price = trades(at, book)
    bound = book.bound(price)
    missing = bound - book.welfare(book.within(pair_kw))
    return torch.where(bound > 0, missing / bound, 0.0)


def negotiate(book: PairBook, config: AdmmConfig) -> Agreement:
    """Go on in each market until the gap is within the tolerance or the rounds are used up."""
    at = start(book)
    pair_kw, price = trades(at, book)
    converged = gap(at, book) <= config.tolerance
    rounds = torch.zeros_like(converged, dtype=torch.int64)
    left = (~converged).nonzero().squeeze(-1)
    at, part = at.of(left), book.of(left)
    done = 0
    while len(left) and done < config.max_rounds:
        for _ in range(min(_CHECK_EVERY, config.max_rounds - done)):
            at = agree(at, *propose(at, config.rho), config)
            done += 1
        arrived = gap(at, part) <= config.tolerance
        pair_kw[left], price[left] = trades(at, part)
        converged[left], rounds[left] = arrived, done
        go_on = (~arrived).nonzero().squeeze(-1)
        left, at, part = left[go_on], at.of(go_on), part.of(go_on)
    return Agreement(pair_kw, price, converged, rounds)


def residual_curves(
    orders: Orders, context: Context, config: AdmmConfig, rounds: int
) -> ResidualCurves:
    """Play a number of rounds whatever the tolerance, and return how the residuals fall."""
    book = pair_up(orders, preference(context, config, orders.quantity_kw.shape[-1]))
    at = start(book)
    curves: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(rounds):
        at = agree(at, *propose(at, config.rho), config)
        curves.append((at.primal, at.dual, gap(at, book)))
    primal, dual, gaps = (torch.stack(curve) for curve in zip(*curves, strict=True))
    return ResidualCurves(primal, dual, gaps)


def clear_by_rounds(
    orders: Orders, context: Context, config: AdmmConfig, with_contract: bool
) -> Clearing:
    """Clear the orders; count a message per proposal that leaves its seat."""
    book = pair_up(orders, preference(context, config, orders.quantity_kw.shape[-1]))
    agreed = negotiate(book, config)
    seats = book.open.any(-1).sum(-1) + book.open.any(-2).sum(-1)
    pairs = book.open.flatten(1).sum(-1)
    per_round = seats if with_contract else 2 * pairs
    return bill_pairs(
        orders,
        context,
        book,
        agreed.pair_kw,
        agreed.pair_price,
        converged=agreed.converged,
        iterations=max(int(agreed.rounds.max()), 1),
        messages=float((per_round * agreed.rounds).double().mean()),
    )
