"""Second ledger beside the one that a layer lies on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim import defaults, registry
from gridbazaar.ledger_sim.protocol import Ledger, Receipts, Transactions


def ledger_called(chosen: str | Mapping[str, Any], slot_s: float) -> Ledger:
    """Build a ledger for slots of `slot_s` from a name or path, as of a file, or a whole mapping.

    Raises:
        UnknownNameError: for an unknown name, with the nearest known one.
        LedgerError: for what a configuration may not hold, or other slots.
    """
    if isinstance(chosen, str):
        return registry.make(defaults.read(chosen).model_copy(update={"slot_s": slot_s}))
    ledger = registry.make(chosen)
    if ledger.slot_s != slot_s:
        raise LedgerError(
            f"ledger {chosen.get('name')!r} has slot_s {ledger.slot_s:g}; beside this one it must "
            f"be {slot_s:g}"
        )
    return ledger


def idle_step(ledger: Ledger, like: Tensor, deadline_s: float) -> Receipts:
    """Carry a slot in which nobody sends; `like` [B, N] gives batch, dtype and device."""
    nothing = like.new_zeros(like.shape[0], 1)
    return ledger.step(
        Transactions(torch.zeros_like(nothing, dtype=torch.bool), nothing, nothing), deadline_s
    )
