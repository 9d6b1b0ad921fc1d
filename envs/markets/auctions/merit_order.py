"""Pricing of trades pair by pair in merit order: cheapest ask with highest bid, and so on."""

from __future__ import annotations

import torch
from torch import Tensor


def pair_money(cleared_kw: Tensor, limit_price: Tensor, k: float) -> Tensor:
    """Price every kWh at k * bid + (1 - k) * ask of the two orders that merit order pairs.

    Asks are laid end to end from the cheapest, bids from the highest; orders that face each other
    are a pair. Orders of one side at one price form one block and share its money pro rata.

    Args:
        cleared_kw: [B, N], positive sold, negative bought, in balance.
        limit_price: [B, N] EUR/kWh.
        k: in [0, 1]; 1 pays every pair's bid, 0 its ask.

    Returns:
        money [B, N] in EUR/h, positive received and negative paid.
    """
    cleared_kw, limit_price = cleared_kw.contiguous(), limit_price.contiguous()
    sold, bought = cleared_kw.clamp(min=0), (-cleared_kw).clamp(min=0)
    ask, sell_order = limit_price.sort(-1)
    negative_bid, buy_order = (-limit_price).sort(-1)
    sold, bought = sold.gather(-1, sell_order), bought.gather(-1, buy_order)
    sell_end, buy_end = sold.cumsum(-1), bought.cumsum(-1)

    # Every order's end cuts the volume; between two cuts one ask faces one bid.
    cut = torch.cat([sell_end, buy_end], -1).sort(-1).values
    length = cut.diff(dim=-1, prepend=torch.zeros_like(cut[:, :1]))
    last = cleared_kw.shape[-1] - 1
    seller = torch.searchsorted(sell_end, cut).clamp(max=last)
    buyer = torch.searchsorted(buy_end, cut).clamp(max=last)
    price = (1 - k) * ask.gather(-1, seller) - k * negative_bid.gather(-1, buyer)

    received = _share(length, price, seller, ask, sold)
    paid = _share(length, price, buyer, negative_bid, bought)
    money = torch.zeros_like(cleared_kw).scatter(-1, sell_order, received)
    return money.scatter_add(-1, buy_order, -paid)


def _share(length: Tensor, price: Tensor, owner: Tensor, key: Tensor, kw: Tensor) -> Tensor:
    """Return each sorted order's money, [B, N]: its power times the mean price of its block.

    Args:
        length, price: [B, 2N] kW and EUR/kWh of each piece.
        owner: [B, 2N] sorted order that a piece belongs to.
        key: [B, N] ascending; equal keys form a block.
        kw: [B, N] cleared power of the sorted orders.
    """
    block = torch.searchsorted(key, key)
    at = block.gather(-1, owner)
    none = torch.zeros_like(kw)
    power = none.scatter_add(-1, at, length)
    money = none.scatter_add(-1, at, length * price)
    mean = money / torch.where(power > 0, power, 1.0)
    return kw * mean.gather(-1, block)
