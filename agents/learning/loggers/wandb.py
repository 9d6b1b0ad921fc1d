"""Weights & Biases: a run of theirs for a run of ours, offline too."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from typing import Any

from gridbazaar.agents.learning.loggers.protocol import LOGGERS, Place
from gridbazaar.errors import MissingExtraError

PROJECT = "gridbazaar"


@LOGGERS.register("wandb")
class WeightsAndBiases:
    """Scalars and configuration in `<run>/wandb`, sent where W&B's own WANDB_* variables say.

    `WANDB_MODE=offline` keeps them there until `wandb sync`. A resumed run goes on under its id.
    """

    def __init__(self, place: Place):
        wandb = _library()
        where = str(place.run.resolve())
        self._run: Any = wandb.init(
            project=PROJECT,
            name=place.run.name,
            id=hashlib.sha256(where.encode()).hexdigest()[:16],
            resume="allow",
            dir=where,
            config=dict(place.config),
        )

    @staticmethod
    def check() -> None:
        """Raise MissingExtraError where wandb is missing."""
        _library()

    def add(self, scalars: Mapping[str, float], agent_steps: int) -> None:
        """Log one iteration's scalars at the agent steps sampled so far."""
        self._run.log(dict(scalars), step=agent_steps)

    def flush(self) -> None:
        """W&B's own process writes as it goes."""

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def _library() -> Any:
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise MissingExtraError("wandb", "wandb") from error
