"""Proposed clearings: what honest and dishonest solvers hand in, and which one is settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gridbazaar.envs.clearing_check import passes
from gridbazaar.envs.markets import Clearing, Context, Market, Orders
from gridbazaar.ledger_sim.proposals import Proposals


@dataclass(frozen=True)
class Settled:
    """Which proposal of an interval was settled, [B] each.

    Attributes:
        solver: int64, who made it; -1 where none passed and nothing is traded.
        refused: bool [B, K], proposals that were checked and did not pass, by place.
        false: bool, it came from a dishonest solver and is not the right clearing.
    """

    solver: Tensor
    refused: Tensor
    false: Tensor

    @property
    def before(self) -> Tensor:
        """Proposals refused, [B]."""
        return self.refused.sum(-1)


def withheld(clearing: Clearing, context: Context) -> Clearing:
    """Let half of every trade go: it can be carried out, and is worse."""
    return replace(
        clearing, cleared_kw=clearing.cleared_kw / 2, payment_eur=clearing.payment_eur / 2
    )


def raised(clearing: Clearing, context: Context) -> Clearing:
    """Let buyers pay sellers more than the grid asks."""
    step = (context.buyer_ceiling - context.seller_floor).abs() + 0.1 * context.buyer_ceiling.abs()
    price = clearing.price + step * (clearing.cleared_kw != 0)
    return replace(
        clearing,
        price=price,
        payment_eur=clearing.cleared_kw * price * context.slot_h,
        reference_price=clearing.reference_price + step.squeeze(-1),
    )


def invented(clearing: Clearing, context: Context) -> Clearing:
    """Let the largest seller sell, and its customers buy, more than they ordered."""
    return replace(
        clearing, cleared_kw=clearing.cleared_kw * 2, payment_eur=clearing.payment_eur * 2
    )


def diverted(clearing: Clearing, context: Context) -> Clearing:
    """Let sellers be paid a tenth less than buyers pay, and keep the rest."""
    part = torch.where(clearing.cleared_kw > 0, 0.9, 1.0)
    return replace(clearing, price=clearing.price * part, payment_eur=clearing.payment_eur * part)


FALSE: tuple[Callable[[Clearing, Context], Clearing], ...] = (withheld, raised, invented, diverted)


def settle_one(
    proposals: Proposals,
    market: Market,
    orders: Orders,
    context: Context,
    own: Clearing,
    slot: int,
) -> tuple[Clearing, Settled]:
    """Let solvers propose, have all proposals checked, and return the one that is settled.

    Args:
        proposals: who proposes, [B, K].
        market: the mechanism.
        orders: the book.
        context: as the mechanism had it.
        own: the right clearing, which honest solvers propose; dishonest ones take turns in `FALSE`.
        slot: of the day.
    """
    honest, places = proposals.honest, proposals.honest.shape[1]
    made = [
        _where(honest[:, k], own, FALSE[(slot + k) % len(FALSE)](own, context))
        for k in range(places)
    ]
    accepted = torch.stack(
        [passes(market, orders, context, one, own, proposals.asked) for one in made], -1
    )
    if proposals.contest:
        worth = torch.stack([_surplus(orders, one) for one in made], -1)
        taken = worth.masked_fill(~accepted, -torch.inf).argmax(-1)
        refused = ~accepted
    else:
        taken = accepted.to(torch.uint8).argmax(-1)
        refused = torch.arange(places, device=taken.device) < taken.unsqueeze(-1)
    clearing = _nothing(own)
    for k, one in enumerate(made):
        clearing = _where((taken == k) & accepted[:, k], one, clearing)
    found = accepted.any(-1)
    solver = proposals.solver.gather(1, taken.unsqueeze(-1)).squeeze(-1)
    changed = (clearing.payment_eur != own.payment_eur).any(-1)
    false = ~honest.gather(1, taken.unsqueeze(-1)).squeeze(-1) & changed & found
    return clearing, Settled(torch.where(found, solver, -1), refused, false)


def _surplus(orders: Orders, clearing: Clearing) -> Tensor:
    """Return what is gained by a clearing at the orders' limit prices, [B] EUR/h."""
    return -(clearing.cleared_kw * orders.limit_price).sum(-1)


def _nothing(like: Clearing) -> Clearing:
    zero = torch.zeros_like(like.cleared_kw)
    return replace(
        like,
        cleared_kw=zero,
        price=zero,
        payment_eur=zero,
        reference_price=torch.full_like(like.reference_price, torch.nan),
        converged=torch.zeros_like(like.converged),
    )


def _where(chosen: Tensor, one: Clearing, other: Clearing) -> Clearing:
    """Return one clearing where chosen [B], else the other."""
    parts: Sequence[str] = ("cleared_kw", "price", "payment_eur", "reference_price", "converged")
    mixed = {
        name: torch.where(
            chosen.reshape(-1, *[1] * (getattr(one, name).dim() - 1)),
            getattr(one, name),
            getattr(other, name),
        )
        for name in parts
    }
    return replace(one, **mixed)
