"""Key figures of incentive schemes: what they pay, and what became of their goods."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.day_record import DayRecord
from gridbazaar.envs.incentives import INCENTIVES, Kind
from gridbazaar.envs.kpis.registry import kpi


def _amount(moved: dict[str, Tensor], kind: Kind, day: DayRecord) -> Tensor:
    """Return the units of all goods of a kind, [B]; NaN where no scheme has such a good."""
    found = []
    for name, amount in moved.items():
        scheme, _, good = name.partition(".")
        if INCENTIVES[scheme].goods[good] == kind:
            found.append(amount.sum((0, -1)))
    return sum(found, torch.zeros_like(day.retail[0])) + (0.0 if found else torch.nan)


@kpi("EUR/day", "-", "market")
def incentive_income(day: DayRecord) -> Tensor:
    """What seats received from incentive schemes and as a ledger's award, less what they paid"""
    return day.incentive.sum((0, -1))


@kpi("1/day", "-", "market")
def coins_issued(day: DayRecord) -> Tensor:
    """Coins and tokens that were issued for meter readings"""
    return _amount(day.issued, "coin", day)


@kpi("1/day", "-", "market")
def coins_expired(day: DayRecord) -> Tensor:
    """Coins and tokens that demurrage took"""
    return _amount(day.expired, "coin", day)


@kpi("1/day", "-", "market")
def certificates_issued(day: DayRecord) -> Tensor:
    """Green certificates that were issued for metered sun"""
    return _amount(day.issued, "certificate", day)


@kpi("1/day", "-", "market")
def certificates_traded(day: DayRecord) -> Tensor:
    """Green certificates that were sold, to be surrendered or cancelled"""
    return _amount(day.redeemed, "certificate", day)


@kpi("kg/day", "-", "market")
def carbon_credits_issued(day: DayRecord) -> Tensor:
    """Carbon credits and allowances that were issued, in CO2"""
    return _amount(day.issued, "credit", day)
