"""Learning curves: TensorBoard scalars, and the main ones as a table."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from gridbazaar.agents.learning.checkpoints import Progress

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
    """

    def __init__(self, run: Path, progress: Progress):
        self._table = run / TABLE
        self._rows = self._read(progress.iteration)
        self._events = SummaryWriter(str(run / EVENTS), purge_step=progress.agent_steps + 1)

    def _read(self, iteration: int) -> list[dict[str, Any]]:
        if not self._table.is_file():
            return []
        with self._table.open(newline="") as file:
            return [row for row in csv.DictReader(file) if int(row["iteration"]) <= iteration]

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
        partial = self._table.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self._rows)
        os.replace(partial, self._table)

    def close(self) -> None:
        """Flush and close the files."""
        self.flush()
        self._events.close()
