"""Second ledger beside the one that a layer lies on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim.layers.build import make
from gridbazaar.ledger_sim.protocol import Ledger, Receipts, Transactions


def ledger_of_slots(values: Mapping[str, Any], slot_s: float) -> Ledger:
    """Build a ledger from all its parameters; its slots must be of `slot_s`.

    Raises:
        UnknownNameError, ConfigError: as `gridbazaar.ledger_sim.make`, or for other slots.
    """
    ledger = make(values)
    if ledger.slot_s != slot_s:
        raise ConfigError(
            f"ledger {values['name']!r} has slot_s {ledger.slot_s:g}; beside this one it must be "
            f"{slot_s:g}"
        )
    return ledger


def idle_step(ledger: Ledger, like: Tensor, deadline_s: float) -> Receipts:
    """Carry a slot in which nobody sends; `like` [B, N] gives batch, dtype and device."""
    nothing = like.new_zeros(like.shape[0], 1)
    return ledger.step(
        Transactions(torch.zeros_like(nothing, dtype=torch.bool), nothing, nothing), deadline_s
    )
