"""No fee, as on a permissioned ledger whose operators pay for it otherwise."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gridbazaar.ledger_sim.fees.protocol import FEE_RULES, Charge, FeeConfig, Usage


class FreeConfig(FeeConfig):
    """The free rule has no parameters."""


@FEE_RULES.register("free")
class Free:
    """Nothing is charged"""

    Config = FreeConfig

    burned_share = 0.0
    flat: float | None = 0.0
    state: Any = None  # nothing changes

    def __init__(self, config: FreeConfig) -> None:
        self.config = config

    def reset(self, seed: Tensor) -> None:
        """Nothing to carry."""

    def charge(self, usage: Usage) -> Charge:
        """Charge nothing."""
        return Charge(0.0, 0.0)
