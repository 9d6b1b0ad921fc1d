"""Answers to what a sceptic asks: which bound, whose luck, which days, and who breaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gridbazaar.evaluation import mechanisms
from gridbazaar.evaluation.exploited import COALITION, SEAT
from gridbazaar.evaluation.figures import percent, spanned, tenths
from gridbazaar.evaluation.outcome import BOUNDS, OPTIMUM, PLANNER, WITHIN_LIMITS
from gridbazaar.evaluation.plots import title_of
from gridbazaar.evaluation.statistics import apart

Row = Mapping[str, Any]
_POINTS = 0.05  # per cent of the optimum's savings that rounding hides
_TOLD = {-1: "less than where it was chosen", 0: "which cannot be told apart", 1: "more"}


def bound(summary: Mapping[str, Any]) -> list[str]:
    """Say what the optimum, and what bounds that are played, leave to be won."""
    rows = summary["rows"]
    best = next(row for row in rows if row["bidder"] == OPTIMUM)["kpis"]["community_cost"]
    if best["mean"] is None:
        return []
    said = [
        f"A programme that knows the whole day and owns all devices costs "
        f"{spanned(best, best['unit'])}: nobody can do better unless the operator adds money."
    ]
    place = (summary["cheapest"]["market"], summary["cheapest"]["ledger"])
    played = [row for row in rows if row["bidder"] not in BOUNDS and not row["baseline"]]
    here = [row for row in played if (row["market"], row["ledger"]) == place]
    shown = sorted(here, key=mechanisms.cost)[:1]
    shown += [row for row in rows if row["bidder"] in (PLANNER, WITHIN_LIMITS)]
    for row in shown:
        share = row["kpis"].get("optimum_share")
        if share and share["mean"] is not None:
            said.append(f"{title_of(row)} reaches {percent(share, '%')} of what it saves.")
    return said


def seeds(summary: Mapping[str, Any]) -> list[str]:
    """Say how far training seeds lie apart, once for each bidder that was trained."""
    said, single = [], []
    for name in _trained(summary):
        row = next((r for r in summary["rows"] if r["bidder"] == name and r["score"]), None)
        if row is None:
            continue
        found = row["score"]["by_seed"]
        if len(found) < 2:
            single.append(name)
            continue
        least, most = tenths(min(found), 100), tenths(max(found), 100)
        mean = percent(row["score"]["mean"], "%", 100)
        said.append(
            f"{title_of(row)}: {len(found)} training seeds reach {least} to {most} % of the "
            f"optimum's savings, on average {mean}, an interval over seeds and days."
        )
    if single:
        said.append(
            f"{', '.join(single)}: a single training run, whose intervals are over days alone. "
            "Other seeds may do better or worse; train several with 'seed=[0,1,2,3,4]'."
        )
    return said


def validation(summary: Mapping[str, Any]) -> list[str]:
    """Say whether learned bidders do better on the days that chose their checkpoint."""
    said = []
    for row in summary["validation"]:
        less = row["less"]
        span = f"{less['mean']:+.1f} points ({less['low']:+.1f} to {less['high']:+.1f})"
        learned = f"{row['days']} validation days"
        if row["learned"]:
            learned += ", by which its checkpoint was chosen,"
        beside = "" if row["learned"] else ", which learned nothing,"
        told = _TOLD[apart(less["low"], less["high"], _POINTS)]
        said.append(
            f"{row['bidder'].replace('_', ' ')}{beside} reaches "
            f"{percent(row['validation'], '%')} of the optimum's savings on {learned} and "
            f"{percent(row['judged'], '%')} on the days of this report: "
            f"{span}, {told}."
        )
    return said


def selfish(summary: Mapping[str, Any]) -> list[str]:
    """Say what one seat, and one coalition, would gain, at most of all that was searched."""
    rows = [row for row in summary["rows"] if row["deviations"]]
    unit, said = summary["kpis"]["community_cost"]["unit"], []
    for kind, who in ((SEAT, "One seat alone"), (COALITION, "All seats of a role together")):
        found = [(row, row["deviations"][kind]) for row in rows if kind in row["deviations"]]
        if not found:
            continue
        row, most = max(found, key=lambda pair: pair[1]["mean"])
        if most["who"] is None:
            said.append(f"{who}: no deviation was found that gains anything.")
            continue
        sure = apart(most["low"], most["high"]) > 0
        unsure = "" if sure else ", which cannot be told from nothing"
        said.append(
            f"{who} gains at least {spanned(most, unit)}{unsure}: {most['who']}, "
            f"with {most['response'].replace('_', ' ')}, while all others play {title_of(row)}."
        )
    return said


def missing(summary: Mapping[str, Any], answered: Mapping[str, Sequence[str]]) -> list[str]:
    """Say which questions these results leave open, and the words that would answer them."""
    learned, found = _trained(summary), []
    if learned and not answered["validation"]:
        found.append("whether it is overfitting to these days (validation=true)")
    if not answered["selfish"]:
        found.append("whether a selfish bidder would break it (exploitability=true)")
    return found


def _trained(summary: Mapping[str, Any]) -> list[str]:
    """Return the labels of the bidders that come from a folder."""
    return list(summary["trained"])
