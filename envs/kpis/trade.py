"""Key figures of the market: gains from trade, prices, convergence, and energy by its channel."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.envs.day_record import DayRecord
from gridbazaar.envs.kpis.registry import kpi, kwh, percentage
from gridbazaar.envs.markets.book import cross, fill
from gridbazaar.envs.settlement import broken_commitment_kw


def _limit_value(quantity_kw: Tensor, day: DayRecord) -> Tensor:
    """What buyers would at most give less what sellers would at least take, [T, B] EUR."""
    return -(quantity_kw * day.limit_price).sum(-1) * day.facts.slot_h


@kpi("EUR/day", "higher", "market")
def social_welfare(day: DayRecord) -> Tensor:
    """Gains from local trade, measured by the seats' own limit prices"""
    return _limit_value(day.filled_kw, day).sum(0)


@kpi("%", "higher", "market")
def allocative_efficiency(day: DayRecord) -> Tensor:
    """Gains from local trade over the most that the submitted book allowed"""
    quantity, price = day.order_kw.flatten(0, 1), day.limit_price.flatten(0, 1)
    best_kw = fill(quantity, price, cross(quantity, price)).view_as(day.order_kw)
    return percentage(social_welfare(day), _limit_value(best_kw, day).sum(0))


@kpi("%", "lower", "market")
def unsolved_clearings(day: DayRecord) -> Tensor:
    """Share of the intervals in which the mechanism did not converge"""
    return 100 * (~day.cleared).double().mean(0)


@kpi("1", "lower", "market")
def clearing_rounds(day: DayRecord) -> Tensor:
    """Rounds that the mechanism took for a clearing, mean over the intervals"""
    return day.rounds.mean(0)


@kpi("1/day", "lower", "market")
def market_messages(day: DayRecord) -> Tensor:
    """Messages of the mechanism beyond the orders, on the ledger unless seats talk directly"""
    return day.messages.sum(0)


@kpi("kWh/day", "-", "market")
def own_use(day: DayRecord) -> Tensor:
    """Energy from own PV and devices that a seat used itself"""
    return kwh(day.own_use_kw, day)


@kpi("kWh/day", "-", "market")
def traded_energy(day: DayRecord) -> Tensor:
    """Energy sold between seats in the market"""
    return kwh(day.filled_kw.clamp(min=0), day)


@kpi("kWh/day", "-", "market")
def firmed_energy(day: DayRecord) -> Tensor:
    """Energy that devices gave or took for others' deviations"""
    return kwh(day.firmed_kw.abs(), day)


@kpi("kWh/day", "-", "market")
def pooled_energy(day: DayRecord) -> Tensor:
    """Energy of seats that were long to seats that were short, without firming"""
    bought = (-day.pooled_kw).clamp(min=0) + (-day.firmed_kw).clamp(min=0)
    return kwh(bought, day) - firmed_energy(day)


@kpi("kWh/day", "lower", "market")
def bought_from_grid(day: DayRecord) -> Tensor:
    """Energy that seats bought from the supplier"""
    return kwh((-day.grid_kw).clamp(min=0), day)


@kpi("kWh/day", "lower", "market")
def deviations(day: DayRecord) -> Tensor:
    """Energy by which meters missed their positions, firming for others left out"""
    return kwh(day.deviation_kw.abs(), day)


@kpi("EUR/day", "-", "market")
def pool_account(day: DayRecord) -> Tensor:
    """What the pool of deviations keeps"""
    return (0 - day.pool - day.firming).sum((0, -1))


@kpi("EUR/kWh", "-", "market")
def mean_price(day: DayRecord) -> Tensor:
    """What sellers received for a traded kWh"""
    sold_kw = day.cleared_kw.clamp(min=0)
    return percentage((day.trade * (sold_kw > 0)).sum((0, -1)), kwh(sold_kw, day)) / 100


@kpi("EUR/day", "-", "market")
def operator_surplus(day: DayRecord) -> Tensor:
    """What the market operator keeps; negative where it adds money"""
    return (0 - day.trade).sum((0, -1))


@kpi("kWh/day", "lower", "market")
def broken_commitments(day: DayRecord) -> Tensor:
    """Energy traded but not delivered or not taken"""
    return kwh(broken_commitment_kw(day.cleared_kw, day.net_kw), day)
