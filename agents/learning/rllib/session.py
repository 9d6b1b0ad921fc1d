"""Ray without its noise."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from gridbazaar.agents.config import RayConfig


@contextmanager
def ray_session(config: RayConfig) -> Iterator[None]:
    """Start Ray in this process, or join a cluster, and leave it at the end."""
    # Ray announces changes of its next versions and its own metrics exporter on every start.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\..*")
    started = not ray.is_initialized()
    if started:
        local = {} if config.address else {"num_cpus": config.num_cpus, "include_dashboard": False}
        ray.init(
            address=config.address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **local,
        )
    try:
        yield
    finally:
        if started:
            ray.shutdown()
