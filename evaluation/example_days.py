"""Example days of an evaluation, interval by interval, in one file of arrays."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar import files
from gridbazaar.envs.day_record import DayRecord
from gridbazaar.errors import ResultsError
from gridbazaar.evaluation.outcome import Outcome
from gridbazaar.evaluation.tournament import Tournament

FILE = "days.npz"
_INDEX, _PLAN = "index", "plan/"
Array = NDArray[Any]
# What is kept of a day [T, ...], and to how many digits after the point.
_KEPT = {
    "retail": 4,
    "feed_in": 4,
    "local_charge": 4,
    "reference_price": 4,
    "included": 0,
    "missed": 0,
    "finality_s": 1,
    "reverted": 0,
    "violation_eur": 4,
    "line_percent": 1,
    "trafo_percent": 1,
    "slack_kw": 3,
    "voltage_pu": 4,
    "load_kw": 3,
    "pv_kw": 3,
    "battery_kw": 3,
    "consumer_kw": 3,
    "cleared_kw": 3,
    "grid_kw": 3,
    "cost": 4,
    "fee": 4,
    "latency_s": 1,
    "order_kw": 3,
    "limit_price": 4,
    "filled_kw": 3,
}


def write(folder: Path, tournament: Tournament) -> None:
    """Write the example days of all outcomes into a folder of results, as `days.npz`.

    Arrays that several outcomes share, such as loads, are there once. `index` is JSON: `first_slot`
    of the days, `slot_h`, `seats`, their `homes` and `battery_kwh`, and in `rows`, by an outcome's
    number in summary.json, which array is which; `plan/...` is the feeder's, see FeederPlan.
    """
    arrays: dict[str, Array] = {
        _PLAN + name: value for name, value in asdict(tournament.plan).items()
    }
    rows = {
        number: _take(outcome, arrays)
        for number, outcome in enumerate(tournament.outcomes)
        if outcome.example is not None
    }
    facts = tournament.facts
    index = {
        "first_slot": tournament.first_slot[list(tournament.examples)].tolist(),
        "slot_h": facts.slot_h,
        "seats": facts.seats,
        "homes": facts.homes,
        "battery_kwh": facts.battery_kwh.tolist(),
        "rows": rows,
    }
    arrays[_INDEX] = np.array(json.dumps(index))
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    files.write(folder / FILE, content.getvalue())


def _take(outcome: Outcome, arrays: dict[str, Array]) -> dict[str, str]:
    """Put an outcome's days among the arrays; return the key of each by its name."""
    assert outcome.example is not None
    keys = {}
    for name, values in days_of(outcome.example).items():
        key = hashlib.sha256(values.tobytes()).hexdigest()[:16]
        arrays[key], keys[name] = values, key
    return keys


def days_of(record: DayRecord) -> dict[str, Array]:
    """Return what is kept of a record, [B, T, ...] each, float32."""
    found = {name: getattr(record, name) for name in _KEPT}
    found["stored_kwh"] = record.by_seat(record.content_kwh, record.facts.batteries)
    return {name: _rounded(values, _KEPT.get(name, 3)) for name, values in found.items()}


def _rounded(values: Tensor, digits: int) -> Array:
    """Return [B, T, ...] of [T, B, ...], without a minus before zero."""
    numbers = np.round(values.double().numpy(), digits) + 0.0
    return np.ascontiguousarray(numbers.swapaxes(0, 1).astype(np.float32))


class ExampleDays:
    """What `write` wrote, read as it is asked for.

    Args:
        folder: of the results.

    Raises ResultsError where it holds no days, or damaged ones.
    """

    def __init__(self, folder: Path):
        self.path = folder / FILE
        if not self.path.is_file():
            raise ResultsError(
                f"{folder} holds no {FILE}: an earlier version wrote it; evaluate again with "
                "overwrite=true"
            )
        try:
            with self._open() as stored:
                self.index: dict[str, Any] = json.loads(str(stored[_INDEX]))
                self.plan = {
                    name.removeprefix(_PLAN): stored[name].tolist()
                    for name in stored.files
                    if name.startswith(_PLAN)
                }
        except Exception as error:  # what is no archive can raise anything
            raise ResultsError(
                f"{self.path} cannot be read ({type(error).__name__}); evaluate again"
            ) from None

    @property
    def rows(self) -> list[int]:
        """Numbers, in summary.json, of the outcomes whose days are there."""
        return [int(number) for number in self.index["rows"]]

    def of(self, row: int, names: Sequence[str] = ()) -> dict[str, Array]:
        """Return an outcome's days, [K, T, ...] each: all that is kept, or these alone."""
        keys = self.index["rows"][str(row)]
        with self._open() as stored:
            return {name: stored[keys[name]] for name in names or keys}

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Open the archive; numpy leaves a damaged file open that it opened itself."""
        with self.path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            yield stored
