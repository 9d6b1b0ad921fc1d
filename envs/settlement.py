"""Settlement of an interval: trades, imbalance, penalties, network charge, ledger fees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gridbazaar.envs.markets import Clearing
from gridbazaar.envs.prices import SlotPrices


@dataclass(frozen=True)
class Tariff:
    """Prices of one slot outside the local market, [B, 1] EUR/kWh each.

    Attributes:
        retail: what the grid charges, network charge included.
        feed_in: what the grid pays.
        local_charge: what the DSO charges the buyer of a kWh that stays inside the feeder.
    """

    retail: Tensor
    feed_in: Tensor
    local_charge: Tensor


@dataclass(frozen=True)
class Bill:
    """Money of one interval per seat, [B, N] EUR, positive received and negative paid.

    Each entry has one counterparty: `trade` the other seats and the market operator, `grid` the
    supplier, `network` the DSO, `penalty` the penalty pool, `fee` the validators.
    """

    trade: Tensor
    grid: Tensor
    network: Tensor
    penalty: Tensor
    fee: Tensor

    @property
    def total(self) -> Tensor:
        """What the seat has gained, [B, N] EUR."""
        return self.trade + self.grid + self.network + self.penalty + self.fee

    @property
    def accounts(self) -> dict[str, Tensor]:
        """What every party has gained, [B] EUR each; together they gain nothing."""
        return {
            "seats": self.total.sum(-1),
            "market operator": -self.trade.sum(-1),
            "supplier": -self.grid.sum(-1),
            "dso": -self.network.sum(-1),
            "penalty pool": -self.penalty.sum(-1),
            "validators": -self.fee.sum(-1),
        }


def imbalance_prices(tariff: Tariff | SlotPrices) -> tuple[Any, Any]:
    """Return what a kWh beside the trades earns where it is left over, and costs where it lacks.

    These are the grid's prices, feed-in and retail, in EUR/kWh, of the tariff's shape.
    """
    return tariff.feed_in, tariff.retail


def imbalance_eur(left_kw: Tensor, tariff: Tariff, slot_h: float) -> Tensor:
    """Return what power that no trade covers earns (surplus) or costs (shortage), [B, N] EUR."""
    surplus_price, shortage_price = imbalance_prices(tariff)
    surplus_kw = left_kw.clamp(min=0)
    shortage_kw = surplus_kw - left_kw
    return (surplus_kw * surplus_price - shortage_kw * shortage_price) * slot_h


def broken_commitment_kw(cleared_kw: Tensor, net_kw: Tensor) -> Tensor:
    """Return how much less each seat sold or bought than it had promised, [B, N] kW."""
    promised_kw = cleared_kw.abs()
    kept_kw = torch.minimum(promised_kw, (net_kw * cleared_kw.sign()).clamp(min=0))
    return promised_kw - kept_kw


def settle(
    clearing: Clearing,
    net_kw: Tensor,
    fee_eur: Tensor,
    tariff: Tariff,
    penalty_price: float,
    reverted: Tensor,
    slot_h: float,
) -> Bill:
    """Bill one interval after the meters were read.

    Args:
        clearing: what the market decided.
        net_kw: [B, N] metered power, positive exported.
        fee_eur: [B, N] charged by the ledger.
        tariff: prices outside the market.
        penalty_price: EUR per kWh promised and not delivered or not taken.
        reverted: [B] bool, true where the ledger lost the interval: no trade stands, and the
            grid's tariff holds for every kWh.
        slot_h: hours.
    """
    stands = (~reverted).unsqueeze(-1)
    cleared_kw = clearing.cleared_kw * stands
    return Bill(
        trade=clearing.payment_eur * stands,
        grid=imbalance_eur(net_kw - cleared_kw, tariff, slot_h),
        network=cleared_kw.clamp(max=0) * (tariff.local_charge * slot_h),
        penalty=broken_commitment_kw(cleared_kw, net_kw) * (-penalty_price * slot_h),
        fee=-fee_eur,
    )
