"""Trade at one posted price: acceptance of orders and pro-rata sharing of the longer side."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.markets.book import rounding
from gridbazaar.envs.markets.protocol import Clearing, Orders


def accepting_kw(orders: Orders, price: Tensor) -> Tensor:
    """Return the orders whose limit `price` meets, [B, N] kW; others are 0.

    `price` is in EUR/kWh, [B, 1] or [B, N]. A limit that it misses by a rounding is met.
    """
    quantity_kw, limit, slack = orders.quantity_kw, orders.limit_price, rounding(price)
    sells = quantity_kw > 0
    accepts = (sells & (limit <= price + slack)) | (~sells & (limit >= price - slack))
    return quantity_kw * accepts


def sides(quantity_kw: Tensor) -> tuple[Tensor, Tensor]:
    """Return supply and demand, [B, 1] kW each, both positive."""
    supply_kw = quantity_kw.clamp(min=0).sum(-1, keepdim=True)
    demand_kw = quantity_kw.clamp(max=0).sum(-1, keepdim=True).neg()
    return supply_kw, demand_kw


def share_pro_rata(willing_kw: Tensor) -> Tensor:
    """Fill the shorter side wholly and the longer one in proportion to its orders, [B, N] kW."""
    supply_kw, demand_kw = sides(willing_kw)
    volume_kw = torch.minimum(supply_kw, demand_kw)
    side_kw = torch.where(willing_kw > 0, supply_kw, demand_kw)
    return willing_kw * (volume_kw / side_kw.clamp(min=torch.finfo(side_kw.dtype).tiny))


def at_one_price(cleared_kw: Tensor, price: Tensor, slot_h: float) -> Clearing:
    """Let all that was cleared change hands at `price`, [B, 1] EUR/kWh."""
    traded = cleared_kw != 0
    paid = price * traded
    any_traded = traded.any(-1)
    return Clearing(
        cleared_kw=cleared_kw,
        price=paid,
        payment_eur=cleared_kw * paid * slot_h,
        reference_price=torch.where(any_traded, price.squeeze(-1), torch.nan),
        converged=torch.ones_like(any_traded),
    )
