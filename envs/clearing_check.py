"""Check of a proposed clearing: residuals of feasibility and optimality, from the book alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets import Clearing, Context, Market, Orders
from gridbazaar.envs.markets.protocol import Claim
from gridbazaar.ledger_sim.proposals import Asked

# Residuals are relative; float32 sums of some hundred orders stay below.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Residuals:
    """How far a clearing is from one that may stand, [B] each, relative, 0 where it may.

    Attributes:
        primal: energy sold and not bought, or beyond an order, over the largest order.
        payment: payment that is not the price's, over the largest such; or two prices where the
            market claims one, over the largest limit.
        loss: the most that an order trades beyond its limit price, over the largest limit.
        deficit: money that comes from nobody, or stays with the operator against the market's
            claim, over all that is paid.
        dual: how far the marginal prices miss each other: the dearest that must be reached less the
            cheapest that must not be passed, over the largest limit.
        gap: surplus that is left over at the marginal price (the duality gap), over all that the
            orders could gain at it.
    """

    primal: Tensor
    payment: Tensor
    loss: Tensor
    deficit: Tensor
    dual: Tensor
    gap: Tensor

    @property
    def feasible(self) -> Tensor:
        """Whether it can be carried out and nobody trades at a loss, [B] bool."""
        return _small(self.primal, self.payment, self.loss, self.deficit)

    @property
    def optimal(self) -> Tensor:
        """Whether no clearing of the book has a larger surplus, [B] bool."""
        return self.feasible & _small(self.dual, self.gap)


def residuals(
    orders: Orders, clearing: Clearing, context: Context, claims: frozenset[Claim]
) -> Residuals:
    """Return the residuals of a clearing in one pass over the book, without clearing it.

    The auction is the linear programme of the largest surplus under a balance. Its optimality
    conditions (Boyd and Vandenberghe, "Convex optimization", 5.5.3) need one number, the balance's
    multiplier: any price that no ask that trades and no bid that lacks energy exceeds, and that
    reaches all bids that trade and all asks that have energy left. The orders' own multipliers
    follow from it, so that a solver cannot claim them. What a market charges need not be that
    price (with k = 0.5 it is not): of the price, `loss` and `payment` say that nobody trades beyond
    its limit and all at one, but not where between the marginal limits it lies.

    Args:
        orders: the book.
        clearing: what is claimed of it.
        context: its slot's length.
        claims: of the mechanism; what it does not claim is not asked.
    """
    quantity, limit, traded = orders.quantity_kw, orders.limit_price, clearing.cleared_kw
    sign, worth = quantity.sign(), _largest(limit)
    size = _largest(quantity)
    given = traded * sign
    beyond = torch.maximum(given - quantity.abs(), -given).amax(-1)
    primal = torch.maximum(traded.sum(-1).abs(), beyond)
    trades, lacks = given > _TOLERANCE * size, quantity.abs() - given > _TOLERANCE * size
    priced = traded * clearing.price * context.slot_h
    paid, all_paid = clearing.payment_eur, clearing.payment_eur.abs().sum(-1)
    loss = ((limit - clearing.price) * sign).where(trades, 0.0).amax(-1)
    surplus = -paid.sum(-1)
    deficit = torch.zeros_like(surplus)
    if "no_deficit" in claims:
        deficit = -surplus
    if "budget_balanced" in claims:
        deficit = surplus.abs()
    dual, gap = _optimality(orders, clearing, trades, lacks)
    payment = (paid - priced).abs().amax(-1) / _positive(priced.abs().amax(-1))
    if "one_price" in claims:
        one = clearing.reference_price.unsqueeze(-1)
        apart = ((clearing.price - one).abs() / worth).where(trades, 0.0).amax(-1)
        payment = torch.maximum(payment, apart)
    return Residuals(
        primal=primal / size.squeeze(-1),
        payment=payment,
        loss=loss.clamp(min=0) / worth.squeeze(-1)
        if "individually_rational" in claims
        else torch.zeros_like(loss),
        deficit=deficit.clamp(min=0) / _positive(all_paid),
        dual=dual / worth.squeeze(-1),
        gap=gap,
    )


def passes(
    market: Market,
    orders: Orders,
    context: Context,
    clearing: Clearing,
    own: Clearing,
    asked: Asked,
) -> Tensor:
    """Return whether a proposed clearing is accepted, [B] bool.

    Where a mechanism's clearing is the auction's optimum at one price, residuals tell; what others
    clear and pay is cleared again and compared.

    Args:
        market: the mechanism.
        orders: the book.
        context: as the mechanism had it.
        clearing: as proposed.
        own: as who checks clears it, for mechanisms whose residuals do not tell.
        asked: what is asked of it.
    """
    if asked == "none":
        return torch.ones_like(clearing.converged)
    found = residuals(orders, clearing, context, market.claims)
    if asked == "feasible":
        return found.feasible
    if {"efficient", "one_price"} <= market.claims:
        return found.optimal
    return found.feasible & _same(clearing, own)


def _same(one: Clearing, other: Clearing) -> Tensor:
    """Return whether two clearings trade and pay alike, [B] bool."""
    pairs = ((one.cleared_kw, other.cleared_kw), (one.payment_eur, other.payment_eur))
    return _small(*((a - b).abs().amax(-1) / _largest(b).squeeze(-1) for a, b in pairs))


def _optimality(
    orders: Orders, clearing: Clearing, trades: Tensor, lacks: Tensor
) -> tuple[Tensor, Tensor]:
    """Return by how much marginal prices miss each other, EUR/kWh, and the relative gap, [B]."""
    quantity, limit = orders.quantity_kw, orders.limit_price
    asks, bids = quantity > 0, quantity < 0
    reach = limit.where((asks & trades) | (bids & lacks), -torch.inf).amax(-1)
    most = limit.where((bids & trades) | (asks & lacks), torch.inf).amin(-1)
    dual = (reach - most).clamp(min=0)
    gain = (_between(reach, most).unsqueeze(-1) - limit) * quantity.sign()
    possible = (gain.clamp(min=0) * quantity.abs()).sum(-1)
    reached = (gain * clearing.cleared_kw.abs()).sum(-1)
    return dual, (possible - reached).clamp(min=0) / _positive(possible)


def _between(low: Tensor, high: Tensor) -> Tensor:
    """Return the middle of two bounds, or the finite one; 0 without any."""
    middle = (low + high) / 2
    one = torch.where(low.isfinite(), low, torch.where(high.isfinite(), high, 0.0))
    return torch.where(middle.isfinite(), middle, one)


def _largest(values: Tensor) -> Tensor:
    """Return the largest magnitude, [B, 1], above 0."""
    return _positive(values.abs().amax(-1, keepdim=True))


def _positive(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, 1.0)


def _small(*found: Tensor) -> Tensor:
    """Return where all are below the tolerance; NaN is not."""
    return (torch.stack(torch.broadcast_tensors(*found)) <= _TOLERANCE).all(0)
