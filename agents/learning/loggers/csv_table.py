"""Every scalar as a line of a table in the run's folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from gridbazaar import files
from gridbazaar.agents.learning.loggers.protocol import LOGGERS, Place
from gridbazaar.errors import RunError

TABLE = "scalars.csv"
COLUMNS = ("agent_steps", "name", "value")


@LOGGERS.register("csv")
class CsvTable:
    """Columns agent_steps, name, value in `<run>/scalars.csv`, replaced as a whole.

    Raises RunError where what is there is no such table.
    """

    def __init__(self, place: Place):
        self._table, self._rows = place.run / TABLE, []
        if not self._table.is_file():
            return
        try:
            with self._table.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    if int(row["agent_steps"]) <= place.agent_steps:
                        self._rows.append(tuple(row[name] for name in COLUMNS))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise RunError(
                f"{self._table} is no table of scalars any more ({type(error).__name__}: {error}); "
                "bring it back from a copy, or remove it: it then begins where the run goes on"
            ) from None

    @staticmethod
    def check() -> None:
        """Nothing is needed."""

    def add(self, scalars: Mapping[str, float], agent_steps: int) -> None:
        """Take one iteration's scalars."""
        self._rows += [(agent_steps, name, value) for name, value in scalars.items()]

    def flush(self) -> None:
        """Replace the table."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerows([COLUMNS, *self._rows])
        files.write(self._table, text.getvalue())

    def close(self) -> None:
        """Hold nothing open."""
        self.flush()
