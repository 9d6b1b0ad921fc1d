"""Pool of deviations: two prices for what meters show beside positions, and who met whom."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.prices import Tariff
from gridbazaar.envs.smoothing import LEAST_KW


class PoolPrices(NamedTuple):
    """[B, 1] EUR/kWh: what a kWh too much earns, and what one too little costs."""

    long: Tensor
    short: Tensor


class Pooled(NamedTuple):
    """What became of the deviations, [B, N] each.

    Attributes:
        payment_eur: what deviating earned from the pool, or cost.
        firming_eur: what firming earned, or cost.
        left_kw: what the grid took, or gave (negative).
    """

    payment_eur: Tensor
    firming_eur: Tensor
    left_kw: Tensor


def pool_prices(reference_price: Tensor, tariff: Tariff) -> PoolPrices:
    """Return the pool's prices after an auction.

    Too much earns the smaller, too little costs the greater of the auction's reference price and
    the middle of the grid's two, so that no deviation beats the auction; where nothing was traded
    both are the middle. They are paid beside the network charge, as the market's price is, and are
    never worse than the grid's.

    Args:
        reference_price: [B] EUR/kWh, NaN without a trade.
        tariff: the grid's prices.
    """
    ceiling = tariff.retail - tariff.local_charge
    low, high = torch.minimum(tariff.feed_in, ceiling), torch.maximum(tariff.feed_in, ceiling)
    middle = torch.clamp((tariff.feed_in + tariff.retail) / 2, low, high)
    price = torch.clamp(reference_price.unsqueeze(-1), low, high)
    price = torch.where(price.isnan(), middle, price)
    return PoolPrices(torch.minimum(price, middle), torch.maximum(price, middle))


def pool(deviation_kw: Tensor, firmed_kw: Tensor, prices: PoolPrices, slot_h: float) -> Pooled:
    """Net the deviations of all seats; the longer side's rest meets the grid, pro rata.

    Args:
        deviation_kw: [B, N] meter less position less firming, positive is long.
        firmed_kw: [B, N] that seats gave (positive) or took for others.
        prices: of deviations; firming is paid what those pay for whom it is done.
        slot_h: hours.
    """
    sold = torch.stack([deviation_kw, firmed_kw]).clamp(min=0)
    bought = sold - torch.stack([deviation_kw, firmed_kw])
    all_sold, all_bought = sold.sum((0, -1)).unsqueeze(-1), bought.sum((0, -1)).unsqueeze(-1)
    met = torch.minimum(all_sold, all_bought)
    met = torch.where(met < LEAST_KW, 0.0, met)  # else one side is paid for what the other is not
    sold_met = sold * (met / all_sold.clamp(min=LEAST_KW))
    bought_met = bought * (met / all_bought.clamp(min=LEAST_KW))
    # Whoever firms a shortage sells at its price, whoever firms a surplus buys at its.
    return Pooled(
        payment_eur=(sold_met[0] * prices.long - bought_met[0] * prices.short) * slot_h,
        firming_eur=(sold_met[1] * prices.short - bought_met[1] * prices.long) * slot_h,
        left_kw=(sold - sold_met - (bought - bought_met)).sum(0),
    )
