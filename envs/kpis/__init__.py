"""Key figures of a recorded day, [B] each: one function per figure, entered in one table.

A cost is the negative of the reward: energy bill, ledger fees and penalties, battery wear, unserved
cars, the share of the feeder's violations, less the worth of what is left in store.
"""

from __future__ import annotations

from torch import Tensor

from gridbazaar.envs.day_record import DayRecord
from gridbazaar.envs.kpis.registry import GROUPS, KPIS, Better, Group, Kpi

__all__ = ["GROUPS", "KPIS", "Better", "Group", "Kpi", "compute"]


def compute(day: DayRecord) -> dict[str, Tensor]:
    """Return every figure by name, [B] each in float64; NaN where it is not defined."""
    return {name: kpi.compute(day) for name, kpi in KPIS.items()}
