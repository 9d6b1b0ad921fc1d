"""Learning curves: the main ones as a table, all scalars in the loggers that are chosen."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gridbazaar import files
from gridbazaar.agents.learning.checkpoints import Progress
from gridbazaar.agents.learning.loggers import LOGGERS, Logger, Place
from gridbazaar.errors import RunError

TABLE = "progress.csv"
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
        loggers: names of those that get all scalars.
        config: of the run, which they may show.

    Raises:
        RunError: what is there is no table of a run.
        UnknownNameError, MissingExtraError: see `gridbazaar.agents.learning.loggers.check`.
    """

    def __init__(
        self,
        run: Path,
        progress: Progress,
        loggers: Iterable[str] = ("tensorboard",),
        config: Mapping[str, Any] | None = None,
    ):
        self._table = run / TABLE
        self._rows = self._read(progress.iteration)
        place = Place(run, progress.agent_steps, config or {})
        self._loggers: list[Logger] = []
        with ExitStack() as opened:  # closed where a further one cannot be opened
            for name in dict.fromkeys(loggers):
                logger = LOGGERS[name](place)
                opened.callback(logger.close)
                self._loggers.append(logger)
            self._opened = opened.pop_all()

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
        groups = (("train", train), ("validation", validation))
        scalars = {f"{group}/{name}": v for group, found in groups for name, v in found.items()}
        for logger in self._loggers:
            logger.add(scalars, progress.agent_steps)
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
        for logger in self._loggers:
            logger.flush()
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(self._rows)
        files.write(self._table, text.getvalue())

    def close(self) -> None:
        """Flush and close the files."""
        with self._opened:
            self.flush()
