"""TensorBoard events in the run's folder."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from gridbazaar.agents.learning.loggers.protocol import LOGGERS, Place

EVENTS = "tensorboard"


@LOGGERS.register("tensorboard")
class TensorBoard:
    """Events in `<run>/tensorboard`; those beyond the point of resuming are purged."""

    def __init__(self, place: Place):
        self._hook, threading.excepthook = threading.excepthook, _print_all_but_disks
        self._events = SummaryWriter(str(place.run / EVENTS), purge_step=place.agent_steps + 1)

    @staticmethod
    def check() -> None:
        """TensorBoard is always installed."""

    def add(self, scalars: Mapping[str, float], agent_steps: int) -> None:
        """Write one iteration's scalars."""
        for name, value in scalars.items():
            self._events.add_scalar(name, value, agent_steps)

    def flush(self) -> None:
        """Bring everything to disk."""
        self._events.flush()

    def close(self) -> None:
        """Close the files."""
        try:
            self._events.close()
        finally:
            threading.excepthook = self._hook


def _print_all_but_disks(fault: threading.ExceptHookArgs) -> None:
    # TensorBoard's thread dies of a full disk, and its next call raises the same error.
    if not isinstance(fault.exc_value, OSError):
        threading.__excepthook__(fault)
