"""Made-up data of three homes, for the card of the task that takes a user's own."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

_DAYS = 56
_HOMES = ("anna", "ben", "cara")


def example_words() -> tuple[str, ...]:
    """Write the homes' file to a folder of this process, and return the words that name it."""
    path = Path(tempfile.mkdtemp(prefix="gridbazaar-card-")) / "homes.csv"
    stamps = pd.date_range("2017-01-02", periods=_DAYS * 96, freq="15min")
    hour = np.asarray(stamps.hour + stamps.minute / 60)
    course = 0.05 + 0.10 * np.exp(-(((hour - 19) / 3) ** 2))  # kWh in 15 minutes
    homes = {f"kwh_{name}": course * (1 + 0.2 * k) for k, name in enumerate(_HOMES)}
    pd.DataFrame({"time": stamps, **homes}).to_csv(path, index=False)
    columns = ", ".join(f"{name}: kwh_{name}" for name in _HOMES)
    return (
        f"task.data.load.path={json.dumps(str(path))}",
        "task.data.load.time_column=time",
        f"+task.data.load.columns={{{columns}}}",
    )
