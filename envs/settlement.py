"""Settlement of an interval: trades, deviations, the grid, network charge, ledger fees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gridbazaar.envs.pool import PoolPrices, pool
from gridbazaar.envs.prices import SlotPrices, Tariff


@dataclass(frozen=True)
class Bill:
    """Money of one interval per seat, [B, N] EUR, positive received and negative paid.

    Each entry has one counterparty: `trade` the other seats and the market operator,
    `compensation` the other seats, `pool` and `firming` the pool of deviations, `grid` the
    supplier, `network` the DSO, `penalty` the penalty pool, `fee` the validators, `incentive`
    whoever runs the incentive schemes, and the ledger where it awards coins that it makes.
    `grid_kw` is what the supplier bought (positive) or sold.
    """

    trade: Tensor
    pool: Tensor
    firming: Tensor
    grid: Tensor
    network: Tensor
    penalty: Tensor
    fee: Tensor
    incentive: Tensor
    grid_kw: Tensor
    compensation: Tensor

    @property
    def total(self) -> Tensor:
        """What the seat has gained, [B, N] EUR."""
        market = self.trade + self.pool + self.firming
        beside = self.penalty + self.fee + self.compensation + self.incentive
        return market + self.grid + self.network + beside

    def awarded(self, award_eur: Tensor | None) -> Bill:
        """Return it with the coins that a ledger makes for seats, [B, N] EUR; None: none."""
        if award_eur is None:
            return self
        return replace(self, incentive=self.incentive + award_eur.to(self.incentive))

    @property
    def accounts(self) -> dict[str, Tensor]:
        """What every party has gained, [B] EUR each; together they gain nothing."""
        return {
            "seats": self.total.sum(-1),
            "market operator": -self.trade.sum(-1),
            "pool": -(self.pool + self.firming).sum(-1),
            "supplier": -self.grid.sum(-1),
            "dso": -self.network.sum(-1),
            "penalty pool": -self.penalty.sum(-1),
            "validators": -self.fee.sum(-1),
            "incentive schemes": -self.incentive.sum(-1),
            "compensation": -self.compensation.sum(-1),
        }


@dataclass(frozen=True)
class Traded:
    """What seats promised and what their meters showed, [B, N] each.

    Attributes:
        cleared_kw: sold (positive) and bought on balance.
        payment_eur: received (positive) and paid for it.
        position_kw: planned at the meter once the market had cleared.
        firmed_kw: given (positive) and taken for others' deviations.
        net_kw: metered, positive exported.
    """

    cleared_kw: Tensor
    payment_eur: Tensor
    position_kw: Tensor
    firmed_kw: Tensor
    net_kw: Tensor

    @property
    def deviation_kw(self) -> Tensor:
        """Meter less position, firming for others left out, [B, N]; positive is long."""
        return self.net_kw - self.position_kw - self.firmed_kw

    def standing(self, reverted: Tensor) -> Traded:
        """Return it without what the ledger lost: there, nobody promised anything.

        `reverted` is [B] bool.
        """
        stands = (~reverted).unsqueeze(-1)
        return Traded(
            cleared_kw=self.cleared_kw * stands,
            payment_eur=self.payment_eur * stands,
            position_kw=torch.where(stands, self.position_kw, self.net_kw),
            firmed_kw=self.firmed_kw * stands,
            net_kw=self.net_kw,
        )


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
    traded: Traded,
    fee_eur: Tensor,
    tariff: Tariff,
    prices: PoolPrices | None,
    penalty_price: float,
    slot_h: float,
) -> Bill:
    """Bill one interval after the meters were read, incentive schemes left out.

    Args:
        traded: what was promised and metered.
        fee_eur: [B, N] charged by the ledger.
        tariff: prices outside the market.
        prices: of the pool that meets deviations first; None where each seat is alone with the
            grid.
        penalty_price: EUR per kWh promised and not delivered or not taken, without a pool.
        slot_h: hours.
    """
    deviation_kw = traded.deviation_kw
    planned_kw = traded.position_kw - traded.cleared_kw
    nothing = torch.zeros_like(deviation_kw)
    if prices is None:
        pooled_eur, firming_eur, left_kw = nothing, nothing, deviation_kw
        broken_kw = broken_commitment_kw(traded.cleared_kw, traded.net_kw)
    else:
        pooled_eur, firming_eur, left_kw = pool(deviation_kw, traded.firmed_kw, prices, slot_h)
        broken_kw = nothing
    grid_kw = planned_kw + left_kw
    # What the meter drew and the grid did not sell came from a neighbour.
    neighbours_kw = ((-traded.net_kw).clamp(min=0) - (-grid_kw).clamp(min=0)).clamp(min=0)
    return Bill(
        trade=traded.payment_eur,
        pool=pooled_eur,
        firming=firming_eur,
        grid=imbalance_eur(grid_kw, tariff, slot_h),
        network=neighbours_kw * (-tariff.local_charge * slot_h),
        penalty=broken_kw * (-penalty_price * slot_h),
        fee=-fee_eur,
        incentive=nothing,
        grid_kw=grid_kw,
        compensation=nothing,
    )
