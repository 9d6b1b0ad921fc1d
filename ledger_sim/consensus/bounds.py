"""Range check of formulas' arguments, with the value and what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridbazaar.errors import LedgerError


def require(ok: Any, name: str, value: Any, allowed: str) -> None:
    """Raise `LedgerError` unless `ok` holds everywhere.

    Args:
        ok: bool, or an array or tensor of them with the shape of `value`; compare so that NaN gives
            False.
        name: argument's name.
        value: what was given; the first wrong element is shown.
        allowed: the range in words, with its unit.
    """
    if ok if isinstance(ok, bool) else ok.all():
        return
    if not isinstance(ok, bool) and np.ndim(ok):
        value = value[~ok].reshape(-1)[0]
    value = value.item() if hasattr(value, "item") else value
    raise LedgerError(f"{name} is {value}; allowed is {allowed}")
