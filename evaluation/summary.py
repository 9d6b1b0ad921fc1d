"""Summary of a tournament: means, intervals and differences over seeds and days, as plain data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.kpis import KPIS, Kpi
from gridbazaar.evaluation import exploited
from gridbazaar.evaluation.audit import AuditResult
from gridbazaar.evaluation.comparison import FIGURES, RATIOS
from gridbazaar.evaluation.config import EvaluationConfig, is_learned, label
from gridbazaar.evaluation.outcome import Combination, Outcome
from gridbazaar.evaluation.scores import described, scores
from gridbazaar.evaluation.statistics import Bootstrap, Summary
from gridbazaar.evaluation.tournament import Tournament

Array = NDArray[np.float64]
Pairing = Callable[[Array, Array], Array]


def kpi_table(currency: str, deviations: bool = False) -> dict[str, dict[str, str]]:
    """Return unit, better side, meaning and group of every key figure by name."""
    figures = dict(KPIS.items()) | FIGURES | (exploited.FIGURES if deviations else {})
    return {name: describe(figure, currency) for name, figure in figures.items()}


def describe(figure: Kpi, currency: str) -> dict[str, str]:
    """Return what files say about a key figure."""
    return {
        "unit": figure.unit.replace("EUR", currency),
        "better": figure.better,
        "meaning": figure.meaning,
        "group": figure.group,
    }


def per_day(tournament: Tournament, figure: Tensor) -> Array:
    """Return a figure's mean over repeats [S, D] from [S * B]; NaN where no repeat has it."""
    shape = (-1, tournament.repeats, len(tournament.first_slot))
    repeats = figure.double().cpu().numpy().reshape(shape)
    there = np.isfinite(repeats)
    total, count = np.where(there, repeats, 0.0).sum(1), there.sum(1)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def reference_of(config: EvaluationConfig) -> str:
    """Return the label of the bidder that others are compared with."""
    if config.reference is not None:
        return label(config.reference)
    return label(next(filter(is_learned, config.bidder), config.bidder[0]))


def rows(config: EvaluationConfig, tournament: Tournament) -> list[dict[str, Any]]:
    """Return a row per outcome: bidder, market, ledger, seeds, figures, differences, and more.

    `difference` holds, for the same days under the same market and ledger, this bidder's figures
    less the reference's; `market_difference`, for the same days, bidder and ledger, this market's
    less the reference market's. None for the reference itself and where it did not play.
    """
    bootstrap = Bootstrap(len(tournament.first_slot), config.resamples, config.seed)
    table = kpi_table(tournament.facts.currency)
    bidder, market = reference_of(config), config.reference_of_markets
    days = [_daily(tournament, outcome) for outcome in tournament.outcomes]
    found = {o.combination: d for o, d in zip(tournament.outcomes, days, strict=True)}

    def less(
        daily: dict[str, Array], place: Combination, reference: str, pair: Pairing
    ) -> dict[str, Any] | None:
        against = found.get(place)
        if against is None or against is daily:
            return None
        paired = {name: pair(daily[name], against[name]) for name in daily if name in against}
        return {"reference": reference, "kpis": _figures(paired, bootstrap, table)}

    def scored(daily: dict[str, Array], place: Combination) -> dict[str, Any] | None:
        against = found.get(replace(place, bidder=bidder))
        best, alone = daily["baseline_cost"] - daily["optimum_savings"], daily["baseline_cost"]
        score = scores(daily["community_cost"], best[0], alone[0])
        if score is None:
            return None
        others = None if against is None or against is daily else against["community_cost"]
        return described(score, bootstrap, daily["community_cost"], others)

    result = []
    for outcome, daily in zip(tournament.outcomes, days, strict=True):
        place = outcome.combination
        result.append(
            {
                "bidder": place.bidder,
                "market": place.market,
                "ledger": place.ledger,
                "seeds": [seed for seed in outcome.seeds if seed],
                "baseline": outcome is tournament.baseline,
                "kpis": _figures(daily, bootstrap, table, ratios=True)
                | exploited.figures(outcome.deviations or {}, tournament.facts.currency),
                "difference": less(daily, replace(place, bidder=bidder), bidder, _all_seeds),
                "market_difference": less(
                    daily, replace(place, market=market), market, _same_seeds
                ),
                "score": scored(daily, place),
                "deviations": outcome.deviations,
                "audit": None if outcome.audit is None else _found(outcome.audit),
                "voltages": None if outcome.voltages is None else outcome.voltages.tolist(),
            }
        )
    return result


def less_of(row: Mapping[str, Any], other: Mapping[str, Any]) -> Pairing:
    """Return how seeds pair in one row less another: alike of one bidder, else all with all."""
    return _same_seeds if row["bidder"] == other["bidder"] else _all_seeds


def _all_seeds(mine: Array, theirs: Array) -> Array:
    """Return the differences of two bidders [S, T, D], each seed of the one with each other."""
    return mine[:, None] - theirs[None]


def _same_seeds(mine: Array, theirs: Array) -> Array:
    """Return the differences of the same bidder's seeds [S, D] in two places."""
    return mine - theirs


def episodes(tournament: Tournament, seed: int) -> pd.DataFrame:
    """Return a line per combination, training seed, day and repeat with every key figure.

    `training_seed` is empty for a bidder that has none; a figure is NaN where it is undefined.
    """
    D = len(tournament.first_slot)
    B = D * tournament.repeats
    frames = []
    for outcome in tournament.outcomes:
        place, S = outcome.combination, len(outcome.seeds)
        numbers = np.tile(np.arange(B), S)
        columns: dict[str, Any] = {
            "bidder": place.bidder,
            "market": place.market,
            "ledger": place.ledger,
            "training_seed": np.repeat(np.asarray(outcome.seeds, dtype=object), B),
            "first_slot": np.tile(tournament.first_slot.cpu().numpy(), S * tournament.repeats),
            "repeat": numbers // D,
            "seed": numbers + seed,
        }
        columns |= {name: values.cpu().numpy() for name, values in outcome.figures.items()}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def strict(value: Any) -> Any:
    """Return plain data that JSON can hold: what is not a finite number becomes None."""
    if isinstance(value, Mapping):
        return {str(key): strict(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [strict(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _found(audit: AuditResult) -> dict[str, Any]:
    """Return an audit without the seconds that it took, which no seed reproduces."""
    return {name: v for name, v in asdict(audit).items() if not name.endswith("_s")}


def _daily(tournament: Tournament, outcome: Outcome) -> dict[str, Array]:
    return {name: per_day(tournament, figure) for name, figure in outcome.figures.items()}


def _figures(
    daily: dict[str, Array],
    bootstrap: Bootstrap,
    table: dict[str, dict[str, str]],
    ratios: bool = False,
) -> dict[str, dict[str, Any]]:
    names = [name for name in table if name in daily]
    found = bootstrap.summaries(np.stack([daily[name] for name in names], -1))
    summaries = dict(zip(names, found, strict=True))
    if ratios:
        for name, (part, whole) in RATIOS.items():
            if whole not in daily:
                continue
            share = bootstrap.ratio(daily[part], daily[whole])
            summaries[name] = Summary(*(100 * value for value in asdict(share).values()))
    return {
        name: {**asdict(summaries[name]), "unit": table[name]["unit"]}
        for name in table
        if name in summaries
    }
