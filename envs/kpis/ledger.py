"""Key figures of the ledger: what it costs and when it is done."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.envs.day_record import DayRecord
from gridbazaar.envs.kpis.registry import enter, kpi, percentage, quantile
from gridbazaar.envs.kpis.trade import traded_energy


@kpi("1/day", "lower", "ledger")
def transactions(day: DayRecord) -> Tensor:
    """Transactions that the market needs: orders sent, the mechanism's messages, settlements"""
    return (day.included + day.missed + day.market_transactions).sum(0)


@kpi("EUR/day", "lower", "ledger")
def ledger_fees(day: DayRecord) -> Tensor:
    """Fees of all transactions"""
    return (0 - day.fee).sum((0, -1))


@kpi("kWh/day", "lower", "ledger")
def ledger_energy(day: DayRecord) -> Tensor:
    """Energy that the ledger used for this market"""
    return day.ledger_kwh.sum(0)


@kpi("%", "lower", "ledger")
def ledger_energy_share(day: DayRecord) -> Tensor:
    """Energy that the ledger used over the energy traded"""
    return percentage(ledger_energy(day), traded_energy(day))


@kpi("1/day", "lower", "ledger")
def validator_messages(day: DayRecord) -> Tensor:
    """Messages among the ledger's validators"""
    return day.ledger_messages.sum(0)


@kpi("%", "lower", "ledger")
def missed_orders(day: DayRecord) -> Tensor:
    """Share of the orders sent that were not in a block at gate closure"""
    return percentage(day.missed.sum(0), (day.missed + day.included).sum(0))


def _enter_latencies(percent: int) -> None:
    q, of = percent / 100, f"{percent}th percentile"
    confirmed, final = f"Order to block, {of}", f"Gate closure to final settlement, {of}"
    confirmation = enter(f"confirmation_p{percent}", "s", "lower", confirmed, "ledger")
    confirmation(lambda day: quantile(day.latency_s, q))
    finality = enter(f"finality_p{percent}", "s", "lower", final, "ledger")
    finality(lambda day: quantile(day.finality_s, q))


_enter_latencies(50)
_enter_latencies(99)


@kpi("EUR", "lower", "ledger")
def locked_money(day: DayRecord) -> Tensor:
    """Money waiting for finality, mean over the day"""
    return day.locked_eur.sum(-1).mean(0)


@kpi("1/day", "lower", "ledger")
def reverted_slots(day: DayRecord) -> Tensor:
    """Intervals whose settlement the ledger lost"""
    return day.reverted.sum(0).double()


@kpi("1/day", "lower", "ledger")
def refused_clearings(day: DayRecord) -> Tensor:
    """Clearings that solvers proposed and the check refused"""
    return day.refused.sum(0)


@kpi("MB/day", "lower", "ledger")
def chain_growth(day: DayRecord) -> Tensor:
    """What a full node stores: this market's transactions and the headers of all blocks"""
    return day.stored_bytes.sum(0) / 1e6


@kpi("MB/day", "lower", "ledger")
def header_growth(day: DayRecord) -> Tensor:
    """What a lightweight node stores: the headers of all blocks"""
    return day.header_bytes.sum(0) / 1e6
