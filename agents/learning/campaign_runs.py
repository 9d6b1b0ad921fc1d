"""Runs of a campaign: what each is told, how far it came, and the table of all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gridbazaar import files
from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning import checkpoints
from gridbazaar.agents.learning.run_folder import configure
from gridbazaar.agents.run_set import name_of
from gridbazaar.configs import sweep
from gridbazaar.errors import GridBazaarError, in_one_line

TABLE = "runs.csv"
_HEAD = ("point", "seed", "agent_steps", "seconds", "best_validated_cost", "state")


@dataclass(frozen=True)
class Planned:
    """One run of several.

    Attributes:
        point: what the sweep chose for it, as a folder's name; empty where seeds alone differ.
        seed: of the training.
        folder: its set's, in which it is called seed_<seed>.
        words: of its configuration, without name, folder and resume.
    """

    point: str
    seed: int
    folder: Path
    words: tuple[str, ...]

    @property
    def title(self) -> str:
        """Return how lines call it."""
        return f"{self.point} {name_of(self.seed)}".strip()


@dataclass(frozen=True)
class Result:
    """How far a run came; `fault` says in one line why it failed, where it did."""

    run: Planned
    agent_steps: int
    seconds: float
    best_cost: float | None
    finished: bool
    fault: str | None = None

    @property
    def state(self) -> str:
        """Return its state in a word."""
        return "failed" if self.fault else "finished" if self.finished else "unfinished"


def configured(run: Planned, *more: str) -> TrainConfig:
    """Return the configuration of a run, with further words; raises as `configure`."""
    folder = sweep.word("folder", str(run.folder))
    return configure([*run.words, f"seed={run.seed}", f"name={name_of(run.seed)}", folder, *more])


def so_far(run: Planned) -> Result:
    """Return how far a run is by its newest checkpoint."""
    try:
        newest = checkpoints.newest(run.folder / name_of(run.seed))
        if newest is None:
            return Result(run, 0, 0.0, None, False)
        done = checkpoints.read_progress(newest)
        total = configured(run).total_agent_steps
    except GridBazaarError as error:
        return Result(run, 0, 0.0, None, False, in_one_line(error))
    return Result(run, done.agent_steps, done.seconds, done.best_cost, done.agent_steps >= total)


def table(results: Sequence[Result]) -> str:
    """Return a line per point, the lowest validated cost first, and a line per failure."""
    by_point: dict[str, list[Result]] = {}
    for result in results:
        by_point.setdefault(result.run.point, []).append(result)
    lines: list[tuple[str, ...]] = [
        ("point", "finished", "best validated cost", "lowest", "highest", "steps", "s")
    ]
    for point, group in sorted(by_point.items(), key=lambda item: _mean_cost(item[1])):
        costs = _costs(group)
        shown = [_mean_cost(group), min(costs), max(costs)] if costs else []
        cells = [f"{cost:.2f}" for cost in shown] or ["–"] * 3
        done = f"{sum(r.finished for r in group)} of {len(group)}"
        steps = f"{sum(r.agent_steps for r in group):,}"
        seconds = f"{sum(r.seconds for r in group):.0f}"
        lines.append((point or "all seeds", done, *cells, steps, seconds))
    width = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join([line[0].ljust(width[0]), *map(str.rjust, line[1:], width[1:])]) for line in lines
    ]
    faults = [f"{r.run.title} failed: {r.fault}" for r in results if r.fault]
    return "\n".join([*text, *faults])


def write_table(folder: Path, results: Sequence[Result]) -> None:
    """Write the table of all runs."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_HEAD)
    for r in results:
        cost = "" if r.best_cost is None else r.best_cost
        writer.writerow(
            [r.run.point, r.run.seed, r.agent_steps, round(r.seconds, 1), cost, r.state]
        )
    files.write(folder / TABLE, text.getvalue())


def _mean_cost(group: Sequence[Result]) -> float:
    costs = _costs(group)
    return sum(costs) / len(costs) if costs else float("inf")


def _costs(group: Sequence[Result]) -> list[float]:
    return [r.best_cost for r in group if r.best_cost is not None and not r.fault]
