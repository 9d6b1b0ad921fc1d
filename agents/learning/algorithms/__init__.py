"""Learning algorithms, one a file; importing this package registers them all."""

from __future__ import annotations

import importlib
import pkgutil

from gridbazaar.agents.learning.algorithm import ALGORITHMS, Algorithm, make

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["ALGORITHMS", "Algorithm", "make"]
