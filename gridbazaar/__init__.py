"""GridBazaar: local energy markets on real feeders and a costed ledger, for multi-agent learning.

import gridbazaar as gb

env = gb.parallel_env(task="semiurb4")              # one market, a PettingZoo environment
batch = gb.batched(task="semiurb4", num_envs=256)   # many, as tensors
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridbazaar.envs import batched as batched
    from gridbazaar.envs import parallel_env as parallel_env
    from gridbazaar.envs import world as world

__all__ = ["batched", "parallel_env", "world"]


def __getattr__(name: str) -> Any:
    # The ground floor lies below the world: it is imported when asked for, not with every module.
    if name in __all__:
        return getattr(importlib.import_module("gridbazaar.envs"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
