"""RLlib's classes around whole batches of days: runner, learner, training step, configuration."""

from __future__ import annotations

import logging

# RLlib 2.60 warns of its own use of RLModuleConfig whenever any module is built.
logging.getLogger("ray._common.deprecation").addFilter(
    lambda record: "RLModuleConfig object" not in record.getMessage()
)
