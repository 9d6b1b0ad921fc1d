"""Budget of the property tests that attack the project: small and fixed, or long and random."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

# By how much `make test-all` multiplies the examples of each attack. A suite must not fail by
# chance: up to this budget the same examples are played every time, beyond it they are drawn anew.
BUDGET = int(os.environ.get("GRIDBAZAAR_ATTACKS", "1"))
_FIXED = 4


def examples(number: int) -> Callable[[Any], Any]:
    """Return the settings of an attack that `make test` gives so many examples."""
    return settings(
        max_examples=number * BUDGET,
        derandomize=BUDGET <= _FIXED,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
