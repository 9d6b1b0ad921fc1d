"""Profit by strategy in mixed populations, apart from what the community gains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from gridbazaar.agents.population import Population, is_population, parse
from gridbazaar.evaluation.config import EvaluationConfig, label
from gridbazaar.evaluation.figures import spanned
from gridbazaar.evaluation.outcome import Outcome
from gridbazaar.evaluation.statistics import Bootstrap
from gridbazaar.evaluation.summary import per_day
from gridbazaar.evaluation.tournament import Tournament

_HEAD = ("population · market · ledger", "strategy", "seats")
_FIGURES = {
    "profit": "profit of a seat",
    "default": "of the same seats, all as the default",
    "gain": "more, day by day",
}


def strategies(config: EvaluationConfig, tournament: Tournament) -> list[dict[str, Any]]:
    """Return a row per strategy of every mixed population, market and ledger.

    A seat's profit is what it saves against the grid alone. A row has `bidder`, `market`, `ledger`,
    `strategy`, its number of `seats`, the mean over them and the days of their `profit`; `default`,
    what the same seats gain where everybody plays as the default does, None where that is not
    played; and `gain`, the profit less that, paired by day. Figures are `mean`, `iqm`, `low` and
    `high` in EUR a day.
    """
    bootstrap = Bootstrap(len(tournament.first_slot), config.resamples, config.seed)
    played = {outcome.combination: outcome for outcome in tournament.outcomes}
    mixes = {label(name): parse(name) for name in config.bidder if is_population(name)}
    return [
        row
        for outcome in tournament.outcomes
        if outcome.combination.bidder in mixes
        for row in _of_mix(
            mixes[outcome.combination.bidder], outcome, played, tournament, bootstrap
        )
    ]


def lines(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of a summary as cells below their head; nothing where no mix played."""
    rows, unit = summary.get("strategies", []), summary["kpis"]["community_cost"]["unit"]
    if not rows:
        return []
    found = [[*_HEAD, *(f"{words}, {unit}" for words in _FIGURES.values())]]
    for row in rows:
        title = f"{row['bidder']} · {row['market']} · {row['ledger']}".replace("_", " ")
        cells = [title, row["strategy"].replace("_", " "), str(row["seats"])]
        found.append([*cells, *(spanned(row.get(name)) for name in _FIGURES)])
    return found


def _of_mix(
    mix: Population, outcome: Outcome, played: Any, tournament: Tournament, bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    place, alone = outcome.combination, tournament.baseline.seat_cost
    others = played.get(type(place)(label(mix.default), place.market, place.ledger))
    of_seat = mix.assign(tournament.facts.seats)
    assert alone is not None
    assert outcome.seat_cost is not None
    for strategy in dict.fromkeys(of_seat):
        mine = [name == strategy for name in of_seat]

        def of_a_seat(cost: Any, mine: list[bool] = mine) -> Any:
            before = alone.repeat(len(cost) // len(alone), 1)  # of each training seed
            return per_day(tournament, (before - cost)[:, mine].mean(-1))

        profit = of_a_seat(outcome.seat_cost)
        usual = None if others is None else of_a_seat(others.seat_cost)
        yield {
            "bidder": place.bidder,
            "market": place.market,
            "ledger": place.ledger,
            "strategy": label(strategy),
            "seats": sum(mine),
            "profit": asdict(bootstrap.summary(profit)),
            "default": None if usual is None else asdict(bootstrap.summary(usual)),
            "gain": None if usual is None else asdict(bootstrap.summary(profit - usual)),
        }
