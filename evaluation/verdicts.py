"""Verdicts of a comparison: its headline figures, and how often one costs more than another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gridbazaar.evaluation import mechanisms
from gridbazaar.evaluation.outcome import BOUNDS
from gridbazaar.evaluation.plots import title_of
from gridbazaar.evaluation.standing import ROUNDING
from gridbazaar.evaluation.statistics import apart

Row = Mapping[str, Any]
_NAMED = 3  # of what cannot be told apart, as many are named


class Tally(NamedTuple):
    """How many others cost more than the reference, less, or cannot be told apart from it."""

    title: str
    more: int
    less: int
    alike: int


class Verdicts(NamedTuple):
    """Tallies of one kind: what they count, said once, and a line each."""

    said: str
    head: tuple[str, str, str, str]
    tallies: tuple[Tally, ...]


def headlines(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the few numbers that a reader wants first, each with what it means.

    Args:
        summary: its `rows` and `cheapest`, see standing.
    """
    rows = summary["rows"]
    alone = next(row for row in rows if row["baseline"])
    played = [r for r in rows if r["bidder"] not in BOUNDS and not mechanisms.subsidised(r)]
    best = min(played, key=mechanisms.cost)
    unit = best["kpis"]["community_cost"]["unit"]
    entries = [
        (
            f"{best['kpis']['community_cost']['mean']:.2f} {unit}",
            f"community cost of {title_of(best)}, {rank(summary['cheapest'])}",
        ),
        (f"{alone['kpis']['community_cost']['mean']:.2f} {unit}", "with the grid alone"),
    ]
    for name, words in (
        ("savings_percent", "saved over the grid alone"),
        ("optimum_share", "of what perfect foresight would save"),
        ("planner_share", "of what a central planner saves who knows what the seats know"),
    ):
        value = best["kpis"].get(name, {}).get("mean")
        if value is not None and best is not alone:
            entries.append((f"{value:.1f} %", words))
    return entries


def rank(cheapest: Mapping[str, Any]) -> str:
    """Say whether the lowest mean cost is also told apart from all others."""
    alike = [
        f"{each['bidder']} · {each['market']} · {each['ledger']}".replace("_", " ")
        for each in cheapest["alike"]
    ]
    if not cheapest["others"]:
        return "which alone was played"
    if not alike:
        return "less than every other on the same days"
    more = f" and {len(alike) - _NAMED} more" if len(alike) > _NAMED else ""
    return f"the lowest mean; not told apart from {'; '.join(alike[:_NAMED])}{more}"


def of_bidders(rows: Sequence[Row]) -> Verdicts | None:
    """Return how the other bidders do against the reference, by market and ledger."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["difference"] and row["bidder"] not in BOUNDS:
            groups.setdefault((row["market"], row["ledger"]), []).append(row)
    if not groups:
        return None
    reference = next(iter(groups.values()))[0]["difference"]["reference"].replace("_", " ")
    return _verdicts(
        f"other bidders than {reference}, each against it under the same market and ledger",
        "market · ledger",
        reference,
        [
            _tally(f"{market} · {ledger}", [row["difference"] for row in others])
            for (market, ledger), others in groups.items()
        ],
    )


def of_markets(rows: Sequence[Row]) -> Verdicts | None:
    """Return how the other markets do against the reference market, by bidder and ledger."""
    tallies = []
    for group in mechanisms.groups([row for row in rows if row["bidder"] not in BOUNDS]):
        others = [
            row["market_difference"]
            for row in group.rows
            if row["market_difference"] and not mechanisms.subsidised(row)
        ]
        if others:
            tallies.append(_tally(f"{group.bidder} · {group.ledger}", others))
    if not tallies:
        return None
    reference = mechanisms.reference_market(rows).replace("_", " ")
    return _verdicts(
        f"other markets without subsidy than {reference}, each against it with the same bidder "
        "and ledger",
        "bidder · ledger",
        reference,
        tallies,
    )


def _verdicts(what: str, where: str, reference: str, tallies: Sequence[Tally]) -> Verdicts:
    said = (
        f"Counted are {what}, day by day: what costs the community more or less has its 95 % "
        "interval on one side of zero."
    )
    head = (where, f"cost more than {reference}", "cost less", "not told apart")
    return Verdicts(said, head, tuple(tallies))


def _tally(title: str, differences: Sequence[Row]) -> Tally:
    figures = [difference["kpis"]["community_cost"] for difference in differences]
    sides = [apart(figure["low"], figure["high"], ROUNDING) for figure in figures]
    return Tally(title.replace("_", " "), *map(sides.count, (1, -1, 0)))
