"""Smoothed acceptance of prices: a market whose outcome follows its prices gradually.

What clears in an auction is piecewise constant in the limit prices, so that its derivative says
nothing of what another price would bring. Here an order is filled as far as a logistic function of
the price it would get says, of a given width; one price balances the book. As the width goes to
zero it is the auction again. The recipe is Kohring, Pieroth and Bichler (ICML 2023,
arXiv:2303.09500); it serves gradients alone, and no market of an evaluation is smoothed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.markets import Clearing, Context, Orders
from gridbazaar.envs.markets.book import rounding

_HALVINGS = 16
# Power that is none: a quotient of less would have a derivative without bound.
LEAST_KW = 1e-6


def accepted(gain: Tensor, width: float) -> Tensor:
    """Return which share is accepted at a gain in EUR/kWh: 0 or 1, or what is between them.

    Args:
        gain: [...] by which the price is better than the limit; equal is accepted.
        width: EUR/kWh over which acceptance grows; 0 is a step.
    """
    if width == 0:
        return (gain >= 0).to(gain)
    return torch.sigmoid(gain / width)


def smoothed_fill(
    quantity_kw: Tensor, limit_price: Tensor, firm: Tensor, low: Tensor, high: Tensor, width: float
) -> tuple[Tensor, Tensor]:
    """Fill orders at the one price that balances what they accept.

    At the lowest and at the highest price the longer side is filled pro rata.

    Args:
        quantity_kw: [B, M], positive asks, negative bids.
        limit_price: [B, M] EUR/kWh.
        firm: bool [B, M] or [M], orders that accept every price.
        low, high: [B, 1] EUR/kWh within which the price lies.
        width: EUR/kWh over which acceptance grows, above 0.

    Returns:
        cleared power [B, M] kW, and the price [B, 1] EUR/kWh. Their derivatives are those of the
        balance (implicit function theorem).
    """
    signed = torch.where(quantity_kw > 0, 1 / width, -1 / width)

    def fills(price: Tensor) -> Tensor:
        share = torch.sigmoid((price - limit_price) * signed)
        return quantity_kw * torch.where(firm, 1.0, share)

    with torch.no_grad():
        least, most = low, high
        for _ in range(_HALVINGS):
            middle = (least + most) / 2
            short = fills(middle).sum(-1, keepdim=True) < 0
            least, most = torch.where(short, middle, least), torch.where(short, most, middle)
        price = (least + most) / 2
        filled = fills(price)
        share = filled / torch.where(quantity_kw != 0, quantity_kw, 1.0)
        slope = ((filled * (1 - share)).abs() / width).sum(-1, keepdim=True)
        step = (high - low) * 2.0**-_HALVINGS
        inside = (price > low + step) & (price < high - step) & (slope > 1.0)
    # A step of Newton from the balance has its derivative.
    newton = price - fills(price).sum(-1, keepdim=True) / slope.clamp(min=1.0)
    price = torch.where(inside, newton, price)
    filled = fills(price)
    sold = filled.clamp(min=0)
    bought = sold - filled
    all_sold, all_bought = sold.sum(-1, keepdim=True), bought.sum(-1, keepdim=True)
    met = torch.minimum(all_sold, all_bought)
    sold = sold * (met / all_sold.clamp(min=LEAST_KW))
    bought = bought * (met / all_bought.clamp(min=LEAST_KW))
    return sold - bought, price


def smoothed_auction(orders: Orders, context: Context, must_run: Tensor, width: float) -> Clearing:
    """Clear a book as a uniform auction whose orders accept prices gradually.

    Args:
        orders: the book.
        context: the grid's prices, within which the auction's lies.
        must_run: bool [M], orders for must-run power; they accept what the grid's price would beat.
        width: EUR/kWh over which acceptance grows, above 0.
    """
    floor, ceiling = context.seller_floor, context.buyer_ceiling
    low, high = torch.minimum(floor, ceiling), torch.maximum(floor, ceiling)
    asks, limit = orders.quantity_kw > 0, orders.limit_price
    taker = torch.where(asks, limit <= low + rounding(low), limit >= high - rounding(high))
    cleared_kw, price = smoothed_fill(orders.quantity_kw, limit, taker & must_run, low, high, width)
    traded = cleared_kw.abs().sum(-1) > 0
    return Clearing(
        cleared_kw=cleared_kw,
        price=price * (cleared_kw != 0),
        payment_eur=cleared_kw * price * context.slot_h,
        reference_price=torch.where(traded, price.squeeze(-1), torch.nan),
        converged=torch.ones_like(traded),
    )
