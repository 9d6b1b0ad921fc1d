"""Dishonest sellers in ADMM: what a false proposal does, what it gains, and how it is found.

    python studies/admm_dishonest.py

One seller of each random book does not propose what is best for it at the pairs' prices. Two checks
need nothing but the messages, which partners and a contract see anyway:

- Response: what a seat proposes is the minimum of a convex cost, whatever that is, less what it
  earns, drawn towards the centre; such answers are monotone (Rockafellar, "Convex analysis",
  theorem 24.9 for subgradients): between any two rounds, (a_r - a_s)(y_r - y_s) >= 0 where
  a = centre + price / rho - y is the cost's slope in the way of the proposals. Who breaks that, has
  no convex cost at all. Who keeps it has one: its lie is that of another order, which no check can
  tell from the truth.
- Disagreement: where rounds end without an agreement, the seat with which the others disagree most.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.markets import Context, Orders
from gridbazaar.envs.markets.bilateral.admm import (
    AdmmConfig,
    Rounds,
    gap,
    partner,
    propose,
    start,
    trades,
)
from gridbazaar.envs.markets.bilateral.admm_parallel import PARTNERS, partners_round
from gridbazaar.envs.markets.pairs import PairBook, pair_up, preference

# Inner products are relative to the lengths of both; rounding stays far below.
_BROKEN = 1e-9
Lie = Callable[[Tensor, Tensor, int], Tensor]


def honest(best: Tensor, most: Tensor, number: int) -> Tensor:
    """Propose what is best."""
    return best


def withheld(best: Tensor, most: Tensor, number: int) -> Tensor:
    """Propose half of what is best."""
    return best / 2


def stubborn(best: Tensor, most: Tensor, number: int) -> Tensor:
    """Propose to sell everything to all alike, whatever the price."""
    return most


def reversed_response(best: Tensor, most: Tensor, number: int) -> Tensor:
    """Propose the less the more is best."""
    return (most - best).clamp(min=0)


def erratic(best: Tensor, most: Tensor, number: int) -> Tensor:
    """Propose up to 30 % more or less, by chance in every round."""
    draw = torch.Generator().manual_seed(number)
    return best * (0.7 + 0.6 * torch.rand(best.shape, generator=draw, dtype=best.dtype))


LIES: tuple[Lie, ...] = (honest, withheld, stubborn, reversed_response, erratic)


@dataclass(frozen=True)
class Played:
    """What became of B markets in which the first seller of the pairing may lie.

    Attributes:
        converged: [B], the duality gap is within the tolerance.
        welfare: [B] EUR/h of what was agreed, as far as the orders bear it.
        gained: [B] EUR/h that the first seller gains at the pairs' prices.
        broken: [B, S] how far each seller's answers are from monotone, relative; 0 if they are.
        apart: [B, S] each seller's part of the disagreement in the last round.
    """

    converged: Tensor
    welfare: Tensor
    gained: Tensor
    broken: Tensor
    apart: Tensor


def play(book: PairBook, config: AdmmConfig, lie: Lie, rounds: int) -> Played:
    """Play a number of rounds in which the first seller tells a lie in each of them."""
    at = start(book, PARTNERS.price_sign)
    slopes, answers = [], []
    for number in range(rounds):

        def proposals(at: Rounds, rho: float, number: int = number) -> Tensor:
            y = propose(at, rho).clone()
            even = torch.ones_like(y[:, 0, :1]) * book.open[:, :1]
            y[:, 0, :1] = lie(y[:, 0, :1], even, number)
            return y

        before, at = at, partners_round(at, config, proposals)
        sold = at.proposal[:, 0]
        slopes.append(before.centre[:, 0] + before.multiplier[:, 0] / config.rho - sold)
        answers.append(sold)
    pair_kw, price = trades(at, book)
    kept = book.within(pair_kw)
    disagreed = (at.proposal + partner(at.proposal))[:, 0].square() * at.size
    return Played(
        converged=gap(at, book) <= config.tolerance,
        welfare=book.welfare(kept),
        gained=(kept * (price - book.ask.unsqueeze(-1)))[:, 0].sum(-1),
        broken=broken(torch.stack(slopes), torch.stack(answers), at.demand * book.open),
        apart=disagreed.sum(-1),
    )


def broken(slope: Tensor, answer: Tensor, weight: Tensor) -> Tensor:
    """Return by how much answers miss being monotone in their slopes, [B, S], relative.

    Args:
        slope: [R, B, S, K] in R rounds.
        answer: [R, B, S, K] proposals.
        weight: [B, S, K] of the pairs, in which a seat's answer is nearest.
    """
    a, y = (x * weight.sqrt() for x in (slope, answer))
    products = torch.einsum("rbsk,qbsk->bsrq", a, y)
    own = products.diagonal(dim1=-2, dim2=-1)
    both = own.unsqueeze(-1) + own.unsqueeze(-2) - products - products.mT
    size = (a.square().sum(-1).amax(0) * y.square().sum(-1).amax(0)).sqrt()
    worst = (-both).clamp(min=0).amax((-1, -2))
    return worst / size.clamp(min=torch.finfo(size.dtype).tiny)


def books(markets: int, seats: int, seed: int = 0) -> tuple[Orders, Context]:
    """Return random books; limits uniform between the grid's prices."""
    draw = torch.Generator().manual_seed(seed)
    quantity = torch.rand(markets, seats, generator=draw, dtype=torch.float64) * 10 - 5
    limit = 0.08 + 0.26 * torch.rand(markets, seats, generator=draw, dtype=torch.float64)
    ceiling, floor = (
        torch.full((markets, 1), price, dtype=torch.float64) for price in (0.34, 0.08)
    )
    return Orders(quantity, limit, torch.zeros_like(limit)), Context(ceiling, floor, 0.25)


def pairing(markets: int, seats: int, seed: int = 0) -> tuple[PairBook, AdmmConfig]:
    """Return the pairs of random books in which the first seller has somebody to trade with."""
    config = validate(AdmmConfig, option("market", "admm_parallel"))
    orders, context = books(markets, seats, seed)
    book = pair_up(orders, preference(context.by_order(orders.owners), config))
    return book.of(book.open[:, 0].any(-1).nonzero().squeeze(-1)), config


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--markets", type=int, default=100)
    parser.add_argument("--seats", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=200)
    chosen = parser.parse_args()
    book, config = pairing(chosen.markets, chosen.seats)
    true = play(book, config, honest, chosen.rounds)
    print(
        "| the first seller | converged, % | welfare lost, % | it gains, % of its own | "
        "no convex cost, % | so of the others, % | most disagreement, % |",
        "|---" * 7 + "|",
        sep="\n",
    )
    for lie in LIES:
        got = play(book, config, lie, chosen.rounds)
        is_broken = (got.broken > _BROKEN).double()
        figures = (
            got.converged.double().mean(),
            1 - got.welfare.sum() / true.welfare.sum(),
            got.gained.sum() / true.gained.sum() - 1,
            is_broken[:, 0].mean(),
            is_broken[:, 1:][book.open[:, 1:].any(-1)].mean(),
            (got.apart.argmax(-1) == 0).double()[~got.converged].mean(),
        )
        cells = " | ".join("–" if x != x else f"{100 * x:.0f}" for x in map(float, figures))
        print(f"| {lie.__name__.replace('_', ' ')} | {cells} |")


if __name__ == "__main__":
    main()
