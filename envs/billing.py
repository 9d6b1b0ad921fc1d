"""Billing of an interval, by the rules of a task."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.envs.compensation import compensate
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.pool import PoolPrices, pool_prices
from gridbazaar.envs.prices import Tariff
from gridbazaar.envs.settlement import Bill, Traded, imbalance_prices, settle


def deviation_prices(rules: RulesConfig, reference_price: Tensor, tariff: Tariff) -> PoolPrices:
    """Return what deviations earn and cost, [B, 1] EUR/kWh, after an auction.

    Args:
        rules: whether the pool or the grid meets them.
        reference_price: [B] EUR/kWh, NaN without a trade.
        tariff: the grid's prices.
    """
    if rules.imbalance == "pool":
        return pool_prices(reference_price, tariff)
    return PoolPrices(*imbalance_prices(tariff))


def bill_of(
    rules: RulesConfig,
    traded: Traded,
    fee_eur: Tensor,
    tariff: Tariff,
    prices: PoolPrices,
    slot_h: float,
) -> Bill:
    """Return the bill of an interval after the meters were read, incentive schemes left out.

    Args:
        rules: of the task.
        traded: what was promised and metered.
        fee_eur: [B, N] charged by the ledger.
        tariff: the grid's prices.
        prices: of deviations.
        slot_h: hours.
    """
    pooled = prices if rules.imbalance == "pool" else None
    bill = settle(traded, fee_eur, tariff, pooled, rules.penalty_price, slot_h)
    if rules.compensation == "metered":
        bill = compensate(bill, traded.net_kw, tariff, slot_h)
    return bill
