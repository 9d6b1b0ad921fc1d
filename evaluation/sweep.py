"""Sweep of evaluations: one for each combination of values that words give, and a table of all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from gridbazaar import files
from gridbazaar.configs import sweep
from gridbazaar.errors import ConfigError, GridBazaarError, in_one_line
from gridbazaar.evaluation.config import EvaluationConfig, configure
from gridbazaar.evaluation.results import evaluate

TABLE = "sweep.csv"
_PLACE = ("name", "folder")


def plan(words: Sequence[str]) -> tuple[Path, dict[str, EvaluationConfig]]:
    """Return the sweep's folder, and the evaluation of each of its points by the point's name.

    Words follow Hydra's grammar: `market=a,b` are two evaluations, `market=[a,b]` is one of both.

    Raises:
        ConfigError: no word has several values, or one is refused at any point.
    """
    found = sweep.parsed(words)
    keys = sweep.swept(words)
    if not keys:
        raise ConfigError(
            "-m wants a word with several values, as in seed=0,1,2 or task=small,rural1"
        )
    if wrong := [key for key in keys if key in _PLACE]:
        raise ConfigError(f"{wrong[0]} has several values: a sweep has one {wrong[0]}")
    given = {key: str(found[key].value()) for key in _PLACE if key in found}
    folder = Path(given.get("folder", "results")) / given.get("name", files.name_by_time("sweep"))
    points = {}
    for point in sweep.points([word for word in words if word.partition("=")[0] not in _PLACE]):
        values = {key: value for key, _, value in (w.lstrip("+~").partition("=") for w in point)}
        label = sweep.label({key: values[key] for key in keys})
        points[label] = configure([*point, f"name={label}", sweep.word("folder", str(folder))])
    return folder, points


def evaluate_all(words: Sequence[str], say: Callable[[str], None] = print) -> tuple[str, int]:
    """Play all evaluations of a sweep; return what to print at the end, and the exit code.

    One that fails is a line, and the others go on; sweep.csv holds the costs of all.
    """
    folder, points = plan(words)
    rows: list[list[object]] = []
    faults = []
    for number, (label, config) in enumerate(points.items(), 1):
        say(f"{label} ({number} of {len(points)})")
        try:
            results = evaluate(config)
        except (GridBazaarError, OSError) as error:
            faults.append(f"{label} failed: {in_one_line(error)}")
            continue
        summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
        rows += [
            [label, r["bidder"], r["market"], r["ledger"], r["kpis"]["community_cost"]["mean"]]
            for r in summary["rows"]
        ]
        text = io.StringIO(newline="")
        head = ["point", "bidder", "market", "ledger", "community_cost_per_day"]
        csv.writer(text).writerows([head, *rows])
        files.write(folder / TABLE, text.getvalue())
    where = [str(folder / label / "report.html") for label in points if (folder / label).is_dir()]
    return "\n".join([*where, *([str(folder / TABLE)] if rows else []), *faults]), int(bool(faults))
