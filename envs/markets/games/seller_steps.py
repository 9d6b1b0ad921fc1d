"""Asks of sellers in steps: what each offers at its price, and which of its orders are sold."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.markets.book import rounding
from gridbazaar.envs.markets.owners import Owners
from gridbazaar.envs.markets.pairs import PairBook


@dataclass(frozen=True)
class Steps:
    """Orders of S sellers, up to L each.

    Attributes:
        kw: [B, S, L] offered, 0 where there is no order.
        limit: [B, S, L] EUR/kWh, ascending; infinite behind the last order.
    """

    kw: Tensor
    limit: Tensor

    def offered_kw(self, price: Tensor) -> Tensor:
        """Return what a seller offers at a price [B, S] of its own, its least limit or more."""
        if self.kw.shape[-1] == 1:
            return self.kw.squeeze(-1)
        most = (price + rounding(price)).unsqueeze(-1)
        return (self.kw * (self.limit <= most)).sum(-1)


def steps_of(book: PairBook) -> Steps:
    """Return the steps of sellers with one order each."""
    return Steps(book.supply_kw.unsqueeze(-1), book.ask.unsqueeze(-1))


def seat_steps(book: PairBook, owners: Owners) -> Steps:
    """Return the steps of all N seats, those without an order among them."""
    kw, limit = (owners.by_seat(values).mT for values in _asks(book, owners))
    limit, order = limit.where(kw > 0, torch.inf).sort(-1)
    return Steps(kw.gather(-1, order), limit)


def by_order(
    book: PairBook, owners: Owners, sold_kw: Tensor, posted: Tensor, bought_kw: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what sellers' orders sell [B, S], at which price, and what buyers' buy [B, K].

    A seat that buys gets its part of what it sells itself, as everybody does. This is no trade and
    is left out. It asks more than it bids, so that the buyers' mean price falls by that.

    Args:
        book: the orders.
        owners: of them.
        sold_kw, posted: [B, N] of seats, what they sell and at which price, EUR/kWh.
        bought_kw: [B, K] of orders, as much as is sold.
    """
    supply, limit = _asks(book, owners)
    total = sold_kw.sum(-1, keepdim=True)
    bought = torch.zeros_like(supply).scatter(-1, book.buyers, bought_kw)
    from_itself = sold_kw / torch.where(total > 0, total, 1.0)
    sold_kw = sold_kw - owners.total(bought) * from_itself
    bought = bought * (1 - owners.of_seat(from_itself))
    sold = owners.in_line(supply, limit, sold_kw)
    price = owners.of_seat(posted)
    sellers = book.sellers
    return sold.gather(-1, sellers), price.gather(-1, sellers), bought.gather(-1, book.buyers)


def _asks(book: PairBook, owners: Owners) -> tuple[Tensor, Tensor]:
    """Return supply and limit price of the sellers' orders in their places, [B, M] each."""
    nothing = book.supply_kw.new_zeros(len(book.supply_kw), len(owners.seat))
    return (
        nothing.scatter(-1, book.sellers, book.supply_kw),
        nothing.scatter(-1, book.sellers, book.ask),
    )
