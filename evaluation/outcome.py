"""Outcomes of combinations: who bid, under which market and ledger, and what it came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gridbazaar.envs import kpis
from gridbazaar.envs.day_record import DayRecord
from gridbazaar.evaluation.audit import AuditResult
from gridbazaar.evaluation.comparison import Yardstick

NONE = "-"
# The program's least cost; its plans, played; those that know the feeder; the central planner.
OPTIMUM, PLAYED, PLANNER = "optimum", "optimum_played", "planner"
WITHIN_LIMITS = "optimum_within_limits"
BOUNDS = (OPTIMUM, PLAYED, WITHIN_LIMITS, PLANNER)
# Shares of all bus voltages of all intervals that the report shows.
VOLTAGE_QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
_MOST_VOLTAGES = 2_000_000


@dataclass(frozen=True)
class Combination:
    """Who bids, under which market and ledger; bidder and ledger are the labels."""

    bidder: str
    market: str
    ledger: str


@dataclass(frozen=True)
class Played:
    """What happened when one combination played all days."""

    combination: Combination
    record: DayRecord
    audit: AuditResult | None
    clearing_ms: float


@dataclass(frozen=True)
class Outcome:
    """What one combination came to.

    Attributes:
        combination: which.
        figures: [S * B] per key figure, those of a training seed side by side.
        seat_cost: [S * B, N] EUR per day; None for the optimum, which knows no seats.
        example: the example days side by side, of the first seed.
        voltages: [len(VOLTAGE_QUANTILES)] p.u. over all buses, intervals and days; with several
            seeds the mean of theirs, and of the extremes the furthest.
        audit: of the chains, where there are any.
        clearing_ms: mean computing time per clearing and market; differs from run to run.
        deviations: what a seat and a coalition would gain by another bidder or price, as plain
            data, for the first seed; None where that was not sought.
        seeds: [S] training seeds that were played, as one bidder; one without a name where a bidder
            has none.
    """

    combination: Combination
    figures: dict[str, Tensor]
    seat_cost: Tensor | None = None
    example: DayRecord | None = None
    voltages: Tensor | None = None
    audit: AuditResult | None = None
    clearing_ms: float | None = None
    deviations: dict[str, dict[str, Any]] | None = None
    seeds: tuple[str, ...] = ("",)

    @classmethod
    def of(
        cls,
        played: Played,
        yardstick: Yardstick,
        examples: tuple[int, ...],
        planned: Tensor | None = None,
    ) -> Outcome:
        """Return what a combination came to beside the grid alone, the optimum and the planner."""
        record = played.record
        return cls(
            combination=played.combination,
            figures=kpis.compute(record) | yardstick.figures(record.seat_cost, planned),
            seat_cost=record.seat_cost,
            example=record.select(*examples),
            voltages=_quantiles(record.voltage_pu[record.solved]),
            audit=played.audit,
            clearing_ms=played.clearing_ms,
        )

    @classmethod
    def together(cls, parts: Sequence[Outcome]) -> Outcome:
        """Return the outcome of several training seeds as that of one bidder."""
        if len(parts) == 1:
            return parts[0]
        costs = [part.seat_cost for part in parts if part.seat_cost is not None]
        audits = [part.audit for part in parts if part.audit is not None]
        times = [part.clearing_ms for part in parts if part.clearing_ms is not None]
        levels = [part.voltages for part in parts if part.voltages is not None]
        return cls(
            combination=parts[0].combination,
            figures={
                name: torch.cat([part.figures[name] for part in parts]) for name in parts[0].figures
            },
            seat_cost=torch.cat(costs) if costs else None,
            example=parts[0].example,
            voltages=_together(levels) if levels else None,
            audit=AuditResult.together(audits) if audits else None,
            clearing_ms=sum(times) / len(times) if times else None,
            deviations=parts[0].deviations,
            seeds=tuple(seed for part in parts for seed in part.seeds),
        )


def _together(levels: Sequence[Tensor]) -> Tensor:
    """Return the levels of several seeds' voltages as one."""
    stacked = torch.stack(list(levels))
    middle = stacked.mean(0)
    middle[0], middle[-1] = stacked[:, 0].min(), stacked[:, -1].max()
    return middle


def _quantiles(voltages: Tensor) -> Tensor:
    """Return the quantiles of all voltages; of an even sample where there are very many."""
    flat = voltages.flatten()
    sample = flat[:: max(1, -(-len(flat) // _MOST_VOLTAGES))]
    if not len(sample):
        return torch.full((len(VOLTAGE_QUANTILES),), torch.nan, dtype=voltages.dtype)
    return sample.quantile(sample.new_tensor(VOLTAGE_QUANTILES))
