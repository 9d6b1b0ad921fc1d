"""Selfish learners under every mechanism, beside bidders who tell the truth.

    python studies/strategic_bidding.py name=strategic days=13
    python studies/strategic_bidding.py name=small task=small-v1 market=[uniform_auction,vcg] \
        total_agent_steps=200000

Under each market all seats learn, each from its own reward alone, to price and to withhold what
they have; then both populations play test days, and deviations of one seat and a role are sought.
A run or an evaluation that is finished is not done again: the same words go on after a kill. Prints
the table of docs/strategic.md, and keeps it as `<folder>/<name>/table.md`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gridbazaar import files
from gridbazaar.agents.learning import run_folder
from gridbazaar.agents.learning.trainer import train
from gridbazaar.errors import ConfigError, GridBazaarError, in_one_line, nearest
from gridbazaar.evaluation import config as evaluation_config
from gridbazaar.evaluation import results_folder
from gridbazaar.evaluation.config import label
from gridbazaar.evaluation.results import evaluate
from gridbazaar.evaluation.tables import piped

TRUTHFUL = "truthful"
_DEFAULTS = {
    "name": "strategic",
    "folder": "results",
    "task": "semiurb4-v1",
    "market": "[uniform_auction,pay_as_bid,vcg,mcafee,mid_market_rate]",
    "total_agent_steps": "2000000",
    "days": "13",
    "deviation_days": "7",
    "seed": "0",
}
# Selfish seats decide on every price and quantity of theirs, each from its own reward.
_SELFISH = (
    "reward.team_weight=0",
    "algorithm.initial_log_std.must_run_price=-2.0",
    "algorithm.initial_log_std.device_margin=-2.5",
    "algorithm.initial_log_std.device_share=-2.5",
)
_HEAD = (
    "market",
    "bidders",
    "cost of the seats",
    "the operator keeps",
    "cost to all",
    "lost to strategy",
    "price",
    "traded, kWh",
    "withheld, kWh",
    "one seat gains",
    "a role gains",
)


def configure(words: Sequence[str]) -> dict[str, str]:
    """Return the options; those that are not this study's are words of the training.

    Raises ConfigError for a word without a value, or one that the study sets itself.
    """
    values = dict(_DEFAULTS)
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise ConfigError(f"{word!r} is no option; {nearest(key, _DEFAULTS)}")
        if key in ("bidder", "resume", "reward.team_weight"):
            raise ConfigError(f"{word} has no place in this study, which sets it itself")
        values[key] = value
    return values


def study(values: Mapping[str, str]) -> str:
    """Train, evaluate and return the table; what is finished is read."""
    root = Path(values["folder"]) / values["name"]
    common = [f"task={values['task']}", f"seed={values['seed']}"]
    told = [f"{key}={value}" for key, value in values.items() if key not in _DEFAULTS]
    markets = evaluation_config.configure(["name=x", f"market={values['market']}"]).market
    found = {}
    for market in markets:
        place = [f"folder={root}/evaluations", f"name={market}"]
        summary = root / "evaluations" / market / "summary.json"
        if not summary.is_file():
            steps = f"total_agent_steps={values['total_agent_steps']}"
            run = _trained(root / "runs", market, steps, [*common, *told, *_SELFISH])
            _evaluated([
                *place, *common, f"market={market}", f"bidder=[{TRUTHFUL},{run}]",
                f"days={values['days']}", f"deviation_days={values['deviation_days']}",
                "exploitability=true", "planner=false",
            ])  # fmt: skip
        found[market] = json.loads(summary.read_text(encoding="utf-8"))
        text = f"{table(found)}\n{who_gains(found)}"
        files.write(root / "table.md", text)
    return text


def _trained(folder: Path, market: str, steps: str, words: Sequence[str]) -> Path:
    """Train under a market, or go on; return the run's folder."""
    place = [f"folder={folder}", f"name={market}", steps]
    if (folder / market).is_dir():
        config = run_folder.configure([*place, "resume=true"])
    else:
        config = run_folder.configure([*place, f"market={market}", *words])
    outcome = train(config)
    if not outcome.finished:
        raise KeyboardInterrupt
    return outcome.folder


def _evaluated(words: Sequence[str]) -> None:
    config = evaluation_config.configure(words)
    begun = results_folder.workshop(files.real(Path(config.folder) / config.name)).is_dir()
    evaluate(config.model_copy(update={"resume": begun}))


def table(summaries: Mapping[str, Any]) -> str:
    """Return the comparison as Markdown, a line for each market and population."""
    lines = [list(_HEAD)]
    for market, summary in summaries.items():
        rows = _played(summary)
        truth = _figures(rows[0])
        for name, row in zip(("truthful", "learned, selfish"), rows, strict=True):
            f = _figures(row)
            lost, kept = _all(f) - _all(truth), round(f["operator_surplus"], 2) + 0.0  # never -0
            lines.append([
                f"`{market}`", name, f"{f['community_cost']:.2f}", f"{kept:.2f}",
                f"{_all(f):.2f}", "–" if row is rows[0] else f"{lost:+.2f}",
                _price(f), f"{f['traded_energy']:.1f}",
                "–" if row is rows[0] else f"{truth['traded_energy'] - f['traded_energy']:+.1f}",
                _gain(row, "exploitability"), _gain(row, "coalition_gain"),
            ])  # fmt: skip
    days = next(iter(summaries.values()))["days"]
    said = f"{days['count']} days of the {days['split']} split; money in EUR a day."
    return f"{piped(lines)}\n{said}\n"


def who_gains(summaries: Mapping[str, Any]) -> str:
    """Return what the seats of each role gain where all are selfish learners, as Markdown."""
    lines: list[list[str]] = []
    for market, summary in summaries.items():
        truth, learned = (_figures(row) for row in _played(summary))
        roles = [name for name in truth if name.startswith("cost_")]
        lines = lines or [["market", *(role.removeprefix("cost_") for role in roles), "operator"]]
        gains = [truth[role] - learned[role] for role in roles]
        gains.append(learned["operator_surplus"] - truth["operator_surplus"])
        lines.append([f"`{market}`", *(f"{gain:+.2f}" for gain in gains)])
    return piped(lines)


def _played(summary: Mapping[str, Any]) -> list[Any]:
    """Return the rows of the truthful and of the learned population."""
    names = [label(bidder) for bidder in summary["config"]["bidder"]]
    rows = [row for row in summary["rows"] if not row["baseline"]]
    return [next(row for row in rows if row["bidder"] == name) for name in names]


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    kpis = row["kpis"].items()
    return {name: float("nan") if f["mean"] is None else f["mean"] for name, f in kpis}


def _all(figures: Mapping[str, float]) -> float:
    """Return what a day costs seats and operator together."""
    return figures["community_cost"] - figures["operator_surplus"]


def _price(figures: Mapping[str, float]) -> str:
    """Write the mean price; where nothing trades there is none."""
    price = figures["mean_price"]
    return "–" if math.isnan(price) else f"{price:.3f}"


def _gain(row: Mapping[str, Any], name: str) -> str:
    """Write the gain of a deviation with its interval, who deviates and how."""
    found = row["deviations"][name]
    if found["who"] is None:
        return "none found"
    span = f"{found['low']:.2f} to {found['high']:.2f}"
    return f"{found['mean']:.2f} ({span}): {found['who']}, {found['response']}".replace("_", " ")


def main(words: Sequence[str] | None = None) -> int:
    """Run the study as the words say; return the exit code."""
    try:
        print(study(configure(sys.argv[1:] if words is None else words)))
    except (GridBazaarError, OSError) as error:
        print(f"strategic_bidding.py: {in_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same words go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
