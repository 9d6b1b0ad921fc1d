"""Learning curves: TensorBoard scalars, and the main ones as a table."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from gridbazaar import files
from gridbazaar.agents.learning.checkpoints import Progress
from gridbazaar.errors import RunError

TABLE, EVENTS = "progress.csv", "tensorboard"
COLUMNS = (
    "iteration",
    "agent_steps",
    "seconds",
    "train_community_cost_eur_per_day",
    "validation_community_cost_eur_per_day",
)


class Curves:
    """Appends to a run's curves; what lies beyond the point it resumes from is dropped.

    Args:
        run: the run's folder.
        progress: the point it starts or resumes from.

    Raises:
        RunError: what is there is no table of a run.
    """

    def __init__(self, run: Path, progress: Progress):
        self._table = run / TABLE
        self._rows = self._read(progress.iteration)
        self._hook, threading.excepthook = threading.excepthook, _print_all_but_disks
        self._events = SummaryWriter(str(run / EVENTS), purge_step=progress.agent_steps + 1)

    def _read(self, iteration: int) -> list[dict[str, Any]]:
        if not self._table.is_file():
            return []
        try:
            with self._table.open(newline="", encoding="utf-8") as file:
                rows = [{name: row[name] for name in COLUMNS} for row in csv.DictReader(file)]
            return [row for row in rows if int(row["iteration"]) <= iteration]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise RunError(
                f"{self._table} is no curve any more ({type(error).__name__}: {error}); bring it "
                "back from a copy, or remove it: it then begins where the run goes on"
            ) from None

    def add(
        self, progress: Progress, train: Mapping[str, float], validation: Mapping[str, float]
    ) -> None:
        """Write one iteration's scalars, at the agent steps sampled so far."""
        for group, scalars in (("train", train), ("validation", validation)):
            for name, value in scalars.items():
                self._events.add_scalar(f"{group}/{name}", value, progress.agent_steps)
        cost = "community_cost_eur_per_day"
        row = (
            progress.iteration,
            progress.agent_steps,
            round(progress.seconds, 1),
            train[cost],
            validation.get(cost, ""),
        )
        self._rows.append(dict(zip(COLUMNS, row, strict=True)))

    def flush(self) -> None:
        """Bring everything to disk; the table is replaced as a whole."""
        self._events.flush()
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(self._rows)
        files.write(self._table, text.getvalue())

    def close(self) -> None:
        """Flush and close the files."""
        try:
            self.flush()
            self._events.close()
        finally:
            threading.excepthook = self._hook


def _print_all_but_disks(fault: threading.ExceptHookArgs) -> None:
    # TensorBoard's thread dies of a full disk, and its next call raises the same error.
    if not isinstance(fault.exc_value, OSError):
        threading.__excepthook__(fault)
