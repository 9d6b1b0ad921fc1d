"""MLflow: a run in its tracking server or its local store."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from gridbazaar import files
from gridbazaar.agents.learning.loggers.protocol import LOGGERS, Place
from gridbazaar.errors import MissingExtraError

EXPERIMENT, STORE, RUN_ID = "gridbazaar", "mlruns", "mlflow_run.txt"
_MOST = 1000  # metrics that MLflow takes at once
_FILES = "MLFLOW_ALLOW_FILE_STORE"
_LONGEST = 500  # characters of a parameter that every store takes
_log = logging.getLogger(__name__)


@LOGGERS.register("mlflow")
class MLflow:
    """Scalars and configuration in a run of experiment `gridbazaar`.

    They go where MLFLOW_TRACKING_URI says, else to the store `mlruns` beside the run's folder. What
    a server did not take is sent again with the next flush; training goes on meanwhile.
    """

    def __init__(self, place: Place):
        tracking = _library()
        store = os.environ.get("MLFLOW_TRACKING_URI")
        if not store:
            store = (place.run.resolve().parent / STORE).as_uri()
            os.environ.setdefault(_FILES, "true")  # MLflow refuses its store of files without
        self._entities = importlib.import_module("mlflow.entities")
        self._client = tracking.MlflowClient(store)
        self._waiting: list[Any] = []
        known = place.run / RUN_ID
        if known.is_file():
            self._run = known.read_text(encoding="utf-8").strip()
            self._client.update_run(self._run, status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        number = (
            self._client.create_experiment(EXPERIMENT)
            if experiment is None
            else experiment.experiment_id
        )
        self._run = self._client.create_run(number, run_name=place.run.name).info.run_id
        files.write(known, f"{self._run}\n")
        given = [
            self._entities.Param(name, str(value)[:_LONGEST])
            for name, value in place.config.items()
            if not isinstance(value, Mapping)
        ]
        self._client.log_batch(self._run, params=given)

    @staticmethod
    def check() -> None:
        """Raise MissingExtraError where mlflow is missing."""
        _library()

    def add(self, scalars: Mapping[str, float], agent_steps: int) -> None:
        """Take one iteration's scalars."""
        now = int(1000 * time.time())
        self._waiting += [
            self._entities.Metric(name, value, now, agent_steps) for name, value in scalars.items()
        ]

    def flush(self) -> None:
        """Send what waits; what cannot be sent waits on, with a warning."""
        try:
            while self._waiting:
                self._client.log_batch(self._run, metrics=self._waiting[:_MOST])
                self._waiting = self._waiting[_MOST:]
        except Exception as error:  # a server that is away must not end a training
            line = " ".join(str(error).split())[:200]
            _log.warning("MLflow did not take %d scalars: %s", len(self._waiting), line)

    def close(self) -> None:
        """Send what waits and end the run."""
        self.flush()
        try:
            self._client.set_terminated(self._run)
        except Exception as error:
            _log.warning("MLflow was not told of the end: %s", " ".join(str(error).split())[:200])


def _library() -> Any:
    try:
        return importlib.import_module("mlflow.tracking")
    except ImportError as error:
        raise MissingExtraError("mlflow", "mlflow") from error
