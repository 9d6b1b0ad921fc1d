"""Sweep of evaluations: one for each combination of values that words give, and a table of all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from gridbazaar import files
from gridbazaar.configs import launching, sweep
from gridbazaar.errors import ConfigError, GridBazaarError, in_one_line
from gridbazaar.evaluation import kept, results_folder
from gridbazaar.evaluation.config import EvaluationConfig, configure
from gridbazaar.evaluation.results import evaluate, finished

Rows = list[list[object]]
TABLE = "sweep.csv"
_HEAD = ["point", "bidder", "market", "ledger", "community_cost_per_day"]
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

    One that fails is a line, and the others go on; sweep.csv holds the costs of all. Words of a
    launcher make each a job. With `resume=true` what is finished stays, and the rest is played.

    Raises:
        ConfigError: as `plan`, or there is no such launcher, or it has no such option.
        MissingExtraError: the launcher is not installed.
        WorldError: the launcher failed, or a job of it died.
    """
    launcher, words = launching.parted(words)
    folder, points = plan(words)
    played: dict[str, Rows | str] = {}
    if launcher:
        say(f"{len(points)} evaluations are jobs: {' '.join(launcher)}")
        jobs = {label: partial(_job, label, config) for label, config in points.items()}
        played = dict(zip(points, launching.launch(launcher, folder, jobs), strict=True))
        _write_table(folder, played)
    else:
        for number, (label, config) in enumerate(points.items(), 1):
            say(f"{label} ({number} of {len(points)})")
            try:
                played[label] = _played(label, config)
            except KeyboardInterrupt as stop:
                stop.add_note(f"{number - 1} of {len(points)} are done: resume=true plays the rest")
                raise
            _write_table(folder, played)
    where = [str(folder / label / "report.html") for label in points if (folder / label).is_dir()]
    faults = [
        f"{label} failed: {fault}" for label, fault in played.items() if isinstance(fault, str)
    ]
    table = [str(folder / TABLE)] if len(faults) < len(points) else []
    return "\n".join([*where, *table, *faults]), int(bool(faults))


def _job(label: str, config: EvaluationConfig, cores: int) -> Rows | str:
    """Play one evaluation as a job, whose bars would cross those of others."""
    return _played(label, config, quiet=True)


def _played(label: str, config: EvaluationConfig, quiet: bool = False) -> Rows | str:
    """Play one evaluation; return its rows of the table, or why it failed."""
    place, done = files.real(Path(config.folder) / config.name), False
    if config.resume and not kept.is_begun(results_folder.workshop(place)):
        # What the sweep has not come to is no mistake of the words.
        config = config.model_copy(update={"resume": False})
        done = finished(place, config)
    try:
        results = place if done else evaluate(config, quiet=quiet)
    except (GridBazaarError, OSError) as error:
        return in_one_line(error)
    summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    return [
        [label, r["bidder"], r["market"], r["ledger"], r["kpis"]["community_cost"]["mean"]]
        for r in summary["rows"]
    ]


def _write_table(folder: Path, played: Mapping[str, Rows | str]) -> None:
    """Write the costs of all evaluations so far, if any was played."""
    rows = [row for found in played.values() if not isinstance(found, str) for row in found]
    if not rows:
        return
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_HEAD, *rows])
    files.write(folder / TABLE, text.getvalue())
